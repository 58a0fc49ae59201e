"""`then: mask` on the data path: styles per target and identity, data of one's own, in text and binary, over every way a value comes back."""
import struct
import subprocess

import pgwire
import pytest
from daemon import BINARY
from database import PAN, luhn, wait_until

POLICY = """\
version: 1
rules:
  - {{name: cards, when: {{target: "*"}}, then: mask, data: [pan, cvv, track], style: {style}}}
"""
DATA_POLICY = """\
version: 1
rules:
  - name: people
    when: {target: cards-db}
    then: mask
    data: [pan, email, iban, ssn, {name: employee_id, pattern: '\\bE-[0-9]{4}\\b'}]
"""
MASKS = {"bin6_last4": "411111******1111", "last4": "************1111", "full": "****************", "bin8_last4": "41111111****1111"}


@pytest.mark.parametrize("style", list(MASKS))
def test_a_style_is_taken_for_text_and_binary(make_daemon, postgres, style):
    daemon = make_daemon(policies=POLICY.format(style=style))
    with daemon.steered():
        client = pgwire.Connection("127.0.0.1", postgres.port)
    assert pgwire.rows(client.run("select pan from cards where id = 1")) == [[MASKS[style].encode()]]
    for binary in (0, 1):
        answer = client.pipeline(pgwire.parse("select pan, pan_big, pan_numeric from cards where id = 1"),
                                 pgwire.bind(result_formats=[binary]), pgwire.execute())
        assert not pgwire.errors(answer)
        (text, big, numeric), = pgwire.rows(answer)
        assert text == MASKS[style].encode()
        number = struct.unpack("!q", big)[0] if binary else int(big)
        digits = str(number)
        assert len(digits) == 16 and not luhn(digits) and digits != PAN, digits
        kept_first = {"bin6_last4": 6, "bin8_last4": 8}.get(style, 0)
        assert digits[:kept_first] == PAN[:kept_first]
        assert (digits[-4:] == PAN[-4:]) == (style != "full")
        assert digits[6:12] != PAN[6:12] or style == "bin8_last4"
        if not binary:
            assert int(numeric) != int(PAN), numeric
    copied = client.run("copy (select pan from cards where id = 1) to stdout")
    assert [body for kind, body in copied if kind == b"d"] == [MASKS[style].encode() + b"\n"]
    client.close()


def test_data_of_ones_own_is_masked_and_recorded(make_daemon, postgres):
    daemon = make_daemon(policies=DATA_POLICY)
    with daemon.steered():
        client = pgwire.Connection("127.0.0.1", postgres.port)
    query = "select 'E-1234', 'jane@example.com', 'DE89 3704 0044 0532 0130 00', '123-45-6789', '4111111111111111', 123456789::int8"
    masked = [b"*-****", b"****@*******.***", b"**** **** **** **** **** **", b"***-**-****", b"411111******1111"]
    assert pgwire.rows(client.run(query))[0] == [*masked, b"123456789"]
    answer = client.pipeline(pgwire.parse(query), pgwire.bind(result_formats=[1]), pgwire.execute())
    assert pgwire.rows(answer)[0] == [*masked, struct.pack("!q", 123456789)]
    json = client.run("""select '{"id": "E-1234", "mail": "jane@example.com"}'::jsonb""")
    assert pgwire.rows(json) == [[b'{"id": "*-****", "mail": "****@*******.***"}']]
    copied = client.run("copy (select 'E-1234', 'x') to stdout")
    assert [body for kind, body in copied if kind == b"d"] == [b"*-****\tx\n"]
    # A value that comes in many reads, with matches on every border.
    unit = "jane@example.com E-1234 and some words; "
    stars = "****@*******.*** *-**** and some words; "
    assert pgwire.rows(client.run(f"select repeat('{unit}', 20000)")) == [[(stars * 20000).encode()]]
    client.close()

    def findings():
        events = [event for event in daemon.events() if event["type"] == "command_completed"]
        return {(finding["kind"], finding["where"]): finding["count"] for event in events for finding in event.get("findings", [])}

    wait_until("the findings are in the log", lambda: ("employee_id", "copy") in findings())
    seen = findings()
    assert seen[("iban", "column:2")] == 1 and seen[("ssn", "column:3")] == 1 and seen[("pan", "column:4")] == 1
    assert seen[("email", "column:0")] == 20000 and seen[("employee_id", "column:0")] == 20000


def test_a_reload_changes_the_masking_of_sessions_that_go_on(make_daemon, postgres):
    daemon = make_daemon(policies=POLICY.format(style="bin6_last4"))
    with daemon.steered():
        client = pgwire.Connection("127.0.0.1", postgres.port)
    assert pgwire.rows(client.run("select pan, 'E-1234' from cards where id = 1")) == [[b"411111******1111", b"E-1234"]]
    daemon.write_policy(DATA_POLICY.replace("email,", "").replace("[pan,", "[pan, ") + "    style: full\n")
    version = daemon.status()["policy_version"]
    daemon.reload()
    wait_until("the new policy", lambda: daemon.status()["policy_version"] != version)
    assert pgwire.rows(client.run("select pan, 'E-1234' from cards where id = 1")) == [[b"****************", b"*-****"]]
    client.close()


def test_a_pattern_that_cannot_be_has_its_place(tmp_path):
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/10.yaml").write_text("version: 1\nrules:\n  - name: a\n    when: {target: \"*\"}\n    then: mask\n    data:\n"
                                               "      - {name: x, pattern: 'a[0-9]+'}\n")
    (tmp_path / "sluice.yaml").write_text(f"version: 1\ntargets:\n  - {{name: t, protocol: postgres, addresses: [\"127.0.0.1:5432\"]}}\n"
                                          f"policies: {tmp_path}/policies\n")
    run = subprocess.run([BINARY, "check", "--config", tmp_path / "sluice.yaml"], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "10.yaml:7:28: error: pattern `x`: has no bound to its width" in run.stdout + run.stderr
