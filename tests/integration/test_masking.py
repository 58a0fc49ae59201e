"""Card numbers in every channel from server to client: masked, same length, and nothing else changed (masking.md, protocol channels)."""
import struct

import pgwire
import pytest
from database import MASKED, PAN, PANS, luhn

RAW = [pan.encode() for pan in PANS]


@pytest.fixture
def client(sluice, postgres):
    with sluice.steered():
        connection = pgwire.Connection("127.0.0.1", postgres.port)
    yield connection
    for pan in RAW:
        assert pan not in connection.raw, "a raw card number reached the client"
        assert struct.pack("!q", int(pan)) not in connection.raw, "a raw binary card number reached the client"
    connection.close()


def test_text_rows(client):
    found = pgwire.rows(client.run("select pan from cards order by id"))
    assert found[0] == [MASKED.encode()]
    assert [len(row[0]) for row in found] == [len(pan) for pan in PANS]
    assert all(row[0][:6].decode() == pan[:6] and row[0][-4:].decode() == pan[-4:] for row, pan in zip(found, PANS))


@pytest.mark.parametrize("column", ["pan", "pan_big", "pan_numeric", "pan_bytes", "pan_json", "pan_jsonb", "pan_texts", "pan_bigs"])
@pytest.mark.parametrize("result_format", [0, 1])
@pytest.mark.parametrize("described", [True, False])
def test_every_type_in_text_and_binary(client, column, result_format, described):
    """Also without Describe: then the columns' types have to be known some other way (way around 2 and 5)."""
    describe = [pgwire.describe(b"P")] if described else []
    answer = client.pipeline(pgwire.parse(f"select {column} from cards order by id"), pgwire.bind(result_formats=[result_format]),
                             *describe, pgwire.execute())
    assert not pgwire.errors(answer)
    assert (b"T" in pgwire.kinds(answer)) == described, "what Sluice asks for itself must not reach the client"
    assert len(pgwire.rows(answer)) == len(PANS)


@pytest.mark.parametrize("binary", [False, True])
def test_masked_integer_stays_an_integer(client, binary):
    answer = client.pipeline(pgwire.parse("select pan_big from cards where id = 1"), pgwire.bind(result_formats=[int(binary)]), pgwire.execute())
    (value,), = pgwire.rows(answer)
    digits = str(struct.unpack("!q", value)[0]) if binary else value.decode()
    assert digits[:6] == "411111" and digits[-4:] == "1111" and len(digits) == 16 and digits != PAN
    assert not luhn(digits)


def test_re_execution_without_describe(client):
    client.pipeline(pgwire.parse("select pan_big, pan from cards", "again"))
    for _ in range(3):
        answer = client.pipeline(pgwire.bind(statement="again", result_formats=[1]), pgwire.execute())
        assert len(pgwire.rows(answer)) == len(PANS)


def test_portal_in_parts(client):
    client.run("begin")
    answer = client.pipeline(pgwire.parse("select pan, pan_big from cards"), pgwire.bind(portal="p", result_formats=[0, 1]),
                             pgwire.execute("p", 2), pgwire.execute("p", 2), pgwire.execute("p"))
    assert len(pgwire.rows(answer)) == len(PANS) and pgwire.kinds(answer).count(b"s") == 2
    client.run("commit")


def test_copy_out(client):
    answer = client.run("copy cards to stdout")
    data = b"".join(payload for kind, payload in answer if kind == b"d")
    assert MASKED.encode() in data and data.count(b"\n") == len(PANS)
    data = b"".join(payload for kind, payload in client.run("copy (select id, pan from cards) to stdout csv") if kind == b"d")
    assert data.startswith(b"1," + MASKED.encode())


def test_large_values_stream(client):
    """A card number at the borders of the windows in which a value of 3 MB passes."""
    for offset in (0, 31_990, 32_760, 65_530, 131_060, 1_000_000):
        (value,), = pgwire.rows(client.run(f"select repeat('x', {offset}) || ' ' || '41111111' || '11111111' || ' ' || repeat('y', 3000000 - {offset})"))
        assert len(value) == 3_000_018 and value[offset + 1:offset + 17] == MASKED.encode()


def test_errors_and_notices(client):
    answer = client.run("select raise_card()")
    assert pgwire.notices(answer)[0]["M"] == f"card {MASKED}"
    error = pgwire.errors(answer)[0]
    assert error["M"] == f"declined {MASKED}" and error["D"] == "number 555555******4444" and error["C"] == "P0001"
    error = pgwire.errors(client.run(f"insert into cards(id, pan) values (99, '{PAN}')"))[0]
    assert error["C"] == "23505" and MASKED in error["D"]


def test_notification(client):
    client.run("listen news")
    answer = client.run(f"notify news, 'paid with {PAN}'")
    payloads = [payload for kind, payload in answer if kind == b"A"] or [client.next()[1]]
    assert f"paid with {MASKED}".encode() in payloads[0]


def test_function_result(client, postgres):
    postgres.psql("create or replace function give_card() returns text language sql as $$ select pan from cards where id = 1 $$")
    oid = int(postgres.psql("select 'give_card'::regproc::oid"))
    client.send(pgwire.function_call(oid))
    answer = client.until_ready()
    assert [payload for kind, payload in answer if kind == b"V"] == [struct.pack("!i", 16) + MASKED.encode()]


def test_parameter_status(client):
    answer = client.run(f"set application_name = 'card {PAN}'")
    assert any(kind == b"S" and MASKED.encode() in payload for kind, payload in answer)


def test_findings_are_counted(client, sluice):
    client.run("select pan as counted_here from cards")
    asked = sluice.wait_event("type=command_received", lambda e: "counted_here" in (e["command"]["text"] or ""))
    event = sluice.wait_event(f"type=command_completed and session={asked['session']}", lambda e: e["command"]["id"] == asked["command"]["id"])
    assert sum(finding["count"] for finding in event["findings"]) == len(PANS)
    assert event["rows"] == len(PANS) and {finding["kind"] for finding in event["findings"]} == {"pan"}


@pytest.mark.parametrize("result_format", [0, 1])
def test_codes_are_known_by_the_names_of_columns(client, result_format):
    answer = client.pipeline(pgwire.parse("select '7' || '34' as cvv, (700 + 34)::int4 as card_verification_value, '73' || '4' as cvv_result, "
                                          "json_build_object('cvv', 700 + 34) as doc"),
                             pgwire.bind(result_formats=[result_format]), pgwire.execute())
    (text, number, other, doc), = pgwire.rows(answer)
    assert text == b"***" and other == b"734"
    assert number == (struct.pack("!i", 111) if result_format else b"111")
    assert doc.replace(b" ", b"") == b'{"cvv":111}'


def test_an_alias_hides_nothing(client):
    (value,), = pgwire.rows(client.run("select pan as order_id from cards where id = 1"))
    assert value == MASKED.encode()
    (value,), = pgwire.rows(client.run("select json_build_object('order_id', pan) from cards where id = 1"))
    assert MASKED.encode() in value


def test_codes_of_a_copy_are_known_by_its_header(client):
    for form in ("header true", "format csv, header true"):
        answer = client.run(f"copy (select 1 as id, '7' || '34' as cvv) to stdout with ({form})")
        data = b"".join(payload for kind, payload in answer if kind == b"d")
        assert data.splitlines()[1][2:] == b"***", form


@pytest.mark.parametrize("form", ["", "csv", "(format csv, header)", "(format csv, delimiter '|', quote '!', force_quote *)", "(delimiter ',')", "(format binary)"])
def test_codes_of_a_copy_are_known_by_the_names_in_the_statement(client, form):
    client.run("create temporary table coded (id int, note text, cvv text)")
    client.run("insert into coded select 1, E'a, tab\\t and | ! quote', '7' || '34' from generate_series(1, 3000)")
    for what in ("coded (note, cvv, id)", "(select note, cvv as card_cvc, id from coded)", "(select c.note || '', c.cvv as cvv, c.id from coded c)"):
        answer = client.run(f"copy {what} to stdout {form}")
        assert not pgwire.errors(answer), (what, answer[-2:])
        data = b"".join(payload for kind, payload in answer if kind == b"d")
        assert data.count(b"***") == 3000 and b"734" not in data, (what, data[:200])
        assert data.count(b"quote") >= 3000
    client.run("drop table coded")


def test_codes_that_are_written_are_not_recorded(client, sluice):
    client.run("create temporary table written_codes (pan text, cvv text)")
    client.run("insert into written_codes (pan, cvv) values ('none', '734')")
    client.pipeline(pgwire.parse("insert into written_codes (pan, cvv) values ('bound', $1)"), pgwire.bind(values=[b"734"]), pgwire.execute())
    event = sluice.wait_event("type=command_received", lambda e: "'none'" in (e["command"]["text"] or ""))
    assert "734" not in event["command"]["text"] and "'***'" in event["command"]["text"]
    event = sluice.wait_event("type=command_received", lambda e: "'bound'" in (e["command"]["text"] or "") and e["command"]["stage"] == "bind")
    assert [value["masked"] for value in event["command"]["bind_values"]] == ["***"]
    assert [row[0] for row in pgwire.rows(client.run("select length(cvv) from written_codes"))] == [b"3", b"3"]
