"""What is in the record: every command with its text, its values and its end, whole, and never a raw card number."""
import subprocess

import pgwire
import pytest
from daemon import ROOT
from database import MASKED, PAN


@pytest.fixture
def client(sluice, postgres):
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port) as connection:
        yield connection


def received(sluice, mark):
    """The commands whose text holds `mark`, once the last of them has ended."""
    return [e for e in sluice.events("type=command_received") if mark in (e["command"]["text"] or "")]


def test_card_numbers_in_texts_and_values_are_masked(client, sluice, postgres):
    client.run(f"select 'in the text', '{PAN}'")
    client.pipeline(pgwire.parse("select 'as a value', $1::text, $2::int8", types=[25, 20]),
                    pgwire.bind([PAN, int(PAN).to_bytes(8, "big")], formats=[0, 1]), pgwire.execute())
    event = sluice.wait_event("type=command_received", lambda e: "in the text" in (e["command"]["text"] or ""))
    assert MASKED in event["command"]["text"] and PAN not in str(event)
    bound = sluice.wait_event("type=command_received",
                              lambda e: "as a value" in (e["command"]["text"] or "") and e["command"]["stage"] == "bind")
    assert MASKED in str(bound) and PAN not in str(bound)
    assert PAN in postgres.statements(), "towards the server nothing is changed"


def test_every_execution_of_a_prepared_statement_is_recorded(client, sluice):
    """Way around 8: Bind and Execute of a statement that was parsed long ago."""
    client.pipeline(pgwire.parse("select $1::int as every_execution", "often"))
    for number in range(50):
        client.pipeline(pgwire.bind([str(number)], "often"), pgwire.execute())
    sluice.wait_event("type=command_received", lambda e: "every_execution" in (e["command"]["text"] or "") and "49" in str(e))
    binds = [e for e in received(sluice, "every_execution") if e["command"]["stage"] == "bind"]
    assert len(binds) == 50
    ended = {e["command"]["id"] for e in sluice.events(f"type=command_completed and session={binds[0]['session']}")}
    assert {e["command"]["id"] for e in binds} <= ended


def test_nothing_is_cut(client, sluice):
    """Way around 17: long texts, many rows, many events."""
    tail = "the very end of it"
    text = "select '" + "long text " * 40_000 + tail + "'"
    client.run(text)
    event = sluice.wait_event("type=command_received", lambda e: tail in (e["command"]["text"] or ""))
    assert event["command"]["text"] == text
    answer = client.run("select generate_series(1, 50000) as many_rows")
    assert len(pgwire.rows(answer)) == 50_000
    asked = received(sluice, "many_rows")[0]
    done = sluice.wait_event(f"type=command_completed and session={asked['session']}", lambda e: e["command"]["id"] == asked["command"]["id"])
    assert done["rows"] == 50_000 and done["bytes"] > 50_000 * 5 and done["outcome"] == "success"


def test_recording_goes_on_however_long_the_session(client, sluice):
    """Way around 14."""
    for number in range(20):
        client.run(f"select repeat('x', 1000000), 'big-{number}'")
    assert len({e["command"]["text"] for e in received(sluice, "'big-")}) == 20


def test_failures_are_recorded_as_such(client, sluice):
    client.run("select 1/0 as it_fails")
    asked = sluice.wait_event("type=command_received", lambda e: "it_fails" in (e["command"]["text"] or ""))
    done = sluice.wait_event(f"type=command_completed and session={asked['session']}", lambda e: e["command"]["id"] == asked["command"]["id"])
    assert done["outcome"] == "failure" and "22012" in str(done)


def test_function_calls_and_cancels_are_recorded(client, sluice, postgres):
    oid = int(postgres.psql("select 'pg_backend_pid'::regproc::oid"))
    client.send(pgwire.function_call(oid))
    client.until_ready()
    assert sluice.wait_event("type=command_received", lambda e: e["command"]["stage"] == "function_call")
    key = next(payload for kind, payload in client.greeting if kind == b"K")
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port, login=False) as other:
        other.send(pgwire.cancel_request(int.from_bytes(key[:4], "big"), key[4:]))
        with pytest.raises((pgwire.Closed, ConnectionError)):
            other.next()
    assert sluice.wait_event("type=command_received", lambda e: e["command"]["stage"] == "cancel")


def test_what_ran_is_joined_with_how_it_ended(client, sluice):
    """Events of an end hold the command's number, not its text again; the session and the number find the text."""
    client.run("select 'join me' from generate_series(1, 3)")
    asked = sluice.wait_event("type=command_received", lambda e: "join me" in (e["command"]["text"] or ""))
    session, number = asked["session"], asked["command"]["id"]
    sluice.wait_event(f"type=command_completed and session={session} and command.id={number}")
    pair = sluice.events(f"session={session} and command.id={number}")
    assert [e["type"] for e in pair] == ["command_received", "command_completed"]
    assert pair[1]["command"]["text"] is None and pair[1]["rows"] == 3 and pair[1]["target"] == "cards-db"
    lines = sluice.cli("events", "--filter", f"session={session} and command.id={number}").stdout.splitlines()
    assert len(lines) == 2 and all(f"{session}#{number}" in line for line in lines), "a person can join them too"


def test_both_verifiers_agree(postgres, make_daemon):
    daemon = make_daemon()
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        for number in range(20):
            client.run(f"select {number}")
    daemon.stop()
    script = [str(ROOT / "scripts/verify-log"), str(daemon.audit)]
    assert daemon.verify().returncode == subprocess.run(script, capture_output=True, check=False).returncode == 0
    segment = max(daemon.audit.iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    assert daemon.verify().returncode == subprocess.run(script, capture_output=True, check=False).returncode == 4
