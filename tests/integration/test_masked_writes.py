"""A masked card number that is written back is refused, in every way that a value gets to the server; reading with one is not."""
import struct

import pgwire
import pytest

MASKED = "411111******1111"
GROUPED = "4111 11** **** 1111"


@pytest.fixture
def client(sluice, postgres):
    postgres.psql("create table if not exists written (id int, pan text); truncate written; insert into written values (1, 'before')")
    with sluice.steered():
        connection = pgwire.Connection("127.0.0.1", postgres.port)
    yield connection
    assert pgwire.rows(connection.run("select 1")) == [[b"1"]], "the connection does not go on"
    connection.close()
    assert postgres.psql("select count(*) from written where pan like '%*%'") == "0", "a masked number was written"
    assert postgres.psql("select pan from written where id = 1") == "before"


def assert_refused(answer):
    error, = pgwire.errors(answer)
    assert error["C"] == "22023" and error["M"].startswith("blocked: a masked card number"), error
    assert error["S"] == "ERROR"
    assert pgwire.status(answer) == "I"


@pytest.mark.parametrize("statement", [
    f"insert into written values (2, '{MASKED}')", f"update written set pan = '{GROUPED}' where id = 1",
    f"with x as (insert into written values (2, '{MASKED}') returning 1) select * from x", "merge into written using (select 2) s on false "
    f"when not matched then insert values (2, '{MASKED}')", f"do $$ begin insert into written values (2, '{MASKED}'); end $$",
    "insert into written values (2, '************1111')", f"select 1; insert into written values (2, '{MASKED}')"])
def test_in_a_query(client, statement):
    assert_refused(client.run(statement))


@pytest.mark.parametrize("value_format", [0, 1])
def test_in_a_bind_value(client, value_format):
    for text in ("insert into written values (2, $1)", "update written set pan = $1 where id = 1"):
        assert_refused(client.pipeline(pgwire.parse(text), pgwire.bind([MASKED], formats=[value_format]), pgwire.execute()))


def test_in_the_text_of_a_parse(client):
    assert_refused(client.pipeline(pgwire.parse(f"insert into written values (2, '{MASKED}')"), pgwire.bind(), pgwire.execute()))


def test_in_a_pipeline_only_its_own_segment_fails(client):
    client.send(pgwire.parse("insert into written values (3, $1)", "ins"), pgwire.bind([MASKED], "ins"), pgwire.execute(), pgwire.message(b"S"),
                pgwire.bind(["fine"], "ins"), pgwire.execute(), pgwire.message(b"S"))
    first = client.until_ready()
    assert pgwire.errors(first)[0]["C"] == "22023"
    second = client.until_ready()
    assert [error["C"] for error in pgwire.errors(second)] in ([], ["26000"]), "a Parse of the failed segment may be gone, as in the server"


def test_in_a_prepared_execute(client):
    client.run("prepare p (text) as insert into written values (2, $1)")
    assert_refused(client.run(f"execute p('{MASKED}')"))
    client.run("prepare q (text) as select $1")
    assert pgwire.rows(client.run(f"execute q('{MASKED}')")) == [[MASKED.encode()]]


@pytest.mark.parametrize("cut", [0, 5, 20])
def test_in_copy_text(client, cut):
    client.send(pgwire.query("copy written from stdin"))
    client.until(b"G")
    data = f"2\tfine\n3\t{GROUPED}\n4\tfine\n".encode()
    pieces = [data] if cut == 0 else [data[:cut], data[cut:]]
    client.send(*[pgwire.copy_data(piece) for piece in pieces], pgwire.message(b"c"))
    answer = client.until_ready()
    assert_refused(answer)


def test_in_copy_text_in_one_large_message(client):
    client.send(pgwire.query("copy written from stdin"))
    client.until(b"G")
    data = b"2\tfine and quite long\n" * 20000 + f"3\t{MASKED}\n".encode() + b"4\tfine and quite long\n" * 20000
    client.send(pgwire.copy_data(data), pgwire.message(b"c"))
    assert_refused(client.until_ready())


def test_in_copy_binary(client):
    client.send(pgwire.query("copy written from stdin (format binary)"))
    client.until(b"G")
    row = struct.pack("!hii", 2, 4, 2) + struct.pack("!i", len(MASKED)) + MASKED.encode()
    client.send(pgwire.copy_data(b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0) + row + struct.pack("!h", -1)), pgwire.message(b"c"))
    assert_refused(client.until_ready())


def test_a_large_copy_without_stars_goes_through(client, postgres):
    client.send(pgwire.query("copy written from stdin"))
    client.until(b"G")
    client.send(pgwire.copy_data(b"7\tfine and quite long\n" * 20000), pgwire.message(b"c"))
    assert not pgwire.errors(client.until_ready())
    assert postgres.psql("select count(*) from written where id = 7") == "20000"


def test_reading_with_a_masked_number_is_allowed(client):
    assert pgwire.rows(client.run(f"select count(*) from written where pan = '{MASKED}'")) == [[b"0"]]
    answer = client.pipeline(pgwire.parse("select count(*) from written where pan = $1"), pgwire.bind([MASKED]), pgwire.execute())
    assert pgwire.rows(answer) == [[b"0"]]
    assert not pgwire.errors(client.run(f"delete from written where pan = '{MASKED}'"))


def test_it_is_recorded(client, sluice):
    client.run(f"insert into written values (2, '{MASKED}')")
    event = sluice.wait_event("type=command_blocked", lambda event: "masked card number" in (event.get("detail") or ""))
    assert event["outcome"] == "refused"
    client.send(pgwire.query("copy written from stdin"))
    client.until(b"G")
    client.send(pgwire.copy_data(f"3\t{MASKED}\n".encode()), pgwire.message(b"c"))
    assert_refused(client.until_ready())
    sluice.wait_event("type=command_completed", lambda event: event.get("error_code") == "22023")


def test_a_rule_may_allow_it(make_daemon, postgres):
    postgres.psql("create table if not exists truncated (pan text)")
    daemon = make_daemon(policies="version: 1\nrules:\n  - {name: receipts, when: {target: \"*\"}, then: mask, masked_writes: allow}\n")
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        assert not pgwire.errors(client.run(f"insert into truncated values ('{MASKED}')"))
