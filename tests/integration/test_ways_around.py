"""The known ways around, each over every way in which PostgreSQL's protocol can carry it.

Three tables: what policy forbids × how a statement is sent; card numbers in results × how a result is read; card numbers that a
client sends × where it can put them. A cell that cannot be (a DROP within COPY) is still tried: whatever the server would say
to it, policy is asked first.
"""
import re
import struct

import pgwire
import pytest
from conftest import target_of
from daemon import ROOT, Daemon
from database import MASKED, PAN

POLICY = """\
version: 1
default: allow
rules:
  - {name: no-destruction, when: {statement: [drop, truncate, delete]}, then: block, because: Changes go through migrations.}
  - {name: no-customers, when: {tables: [public.customers]}, then: block, because: Ask the data owner.}
  - {name: no-side-doors, when: {functions: [pg_read_file, lo_export, lo_import, dblink_exec, copy_program, copy_file]}, then: block, because: no}
"""

# --- what policy forbids × how a statement is sent

FORBIDDEN = {
    "drop": "drop table victim2",
    "delete": "delete from victim2",
    "escaped identifier": 'delete from U&"\\0076ictim2"',
    "cte that writes": "with gone as (delete from victim2 returning *) select * from gone",
    "comment of 9 MiB": "/*" + "x" * (9 << 20) + "*/ delete from victim2",
    "nested comments": "/* /* */ */ delete /* ; */ from victim2 -- select",
    "dollar quotes": "select $a$ $a$; delete from victim2; select $b$ $b$",
    "do block": "do $$ begin delete from victim2; end $$",
    "dynamic": "do $$ begin execute 'delete ' || 'from victim2'; end $$",
    "merge": "merge into victim2 v using (select 1 id) s on v.id = s.id when matched then delete",
    "query_to_xml": "select query_to_xml('delete from victim2', true, true, '')",
    "explain analyze": "explain analyze delete from victim2",
    "user function": "select wipe_victim2()",
    "unparsable": "delet from victim2",
    "deep": "select " + "(" * 5000 + "1" + ")" * 5000 + "; delete from victim2",
    "long sum": "select " + "1+" * 30_000 + "1; delete from victim2",
    "read": "select name from customers",
    "read all": "table customers",
    "read in a subquery": "select (select name from customers limit 1)",
    "read escaped": 'select name from U&"\\0063ustomers"',
    "read by xml": "select query_to_xml('select * from customers', true, true, '')",
    "read by returning": "update customers set name = name returning name",
    "read into": "select name into temp taken_away from customers",
    "file": "select pg_read_file('/etc/passwd')",
    "large object out": "select lo_export(1, '/tmp/never')",
    "large object in": "select lo_import('/etc/passwd')",
    "dblink": "select dblink_exec('host=127.0.0.1', 'delete from victim2')",
    "program": "copy plain to program 'cat > /tmp/never'",
    "server file": "copy plain to '/tmp/never'",
}


def in_pieces(client, data, size):
    for at in range(0, len(data), size):
        client.send(data[at:at + size])


def simple(client, sql):
    return client.run(sql)


def simple_in_pieces(client, sql):
    data = pgwire.query(sql)
    in_pieces(client, data, 1 if len(data) < 2000 else 7001)
    return client.until_ready()


def simple_behind_others(client, sql):
    return client.run(f"select 'before'; {sql}; select 'after'")


def simple_in_a_transaction(client, sql):
    client.run("begin")
    answer = client.run(sql)
    assert pgwire.status(answer) == "E"
    assert pgwire.errors(client.run("select 'still here'"))[0]["C"] == "25P02"
    assert pgwire.status(client.run("rollback")) == "I"
    return answer


def extended(client, sql):
    return client.pipeline(pgwire.parse(sql), pgwire.bind(), pgwire.describe(b"P"), pgwire.execute())


def extended_binary(client, sql):
    return client.pipeline(pgwire.parse(sql), pgwire.bind(result_formats=[1]), pgwire.execute("", 1), pgwire.execute())


def extended_in_pieces(client, sql):
    data = pgwire.parse(sql, "s") + pgwire.describe(b"S", "s") + pgwire.bind(statement="s", portal="p") + pgwire.execute("p") + pgwire.SYNC
    in_pieces(client, data, 1 if len(data) < 2000 else 7001)
    return client.until_ready()


def extended_step_by_step(client, sql):
    """As libpq's PQprepare and PQexecPrepared do; what was refused at Parse does not exist afterwards."""
    answer = client.pipeline(pgwire.parse(sql, "stepwise"))
    later = client.pipeline(pgwire.bind(statement="stepwise"), pgwire.execute())
    assert pgwire.errors(later)[0]["C"] in ("26000", "42501") and not pgwire.rows(later), "the name means nothing, or nobody knows what"
    return answer


def pipelined(client, sql):
    """Three commands before one Sync, a query behind it, all in one segment."""
    client.send(pgwire.parse("select 'first'"), pgwire.bind(), pgwire.execute(), pgwire.parse(sql), pgwire.bind(), pgwire.execute(),
                pgwire.parse("select 'skipped'"), pgwire.bind(), pgwire.execute(), pgwire.SYNC, pgwire.query("select 'behind'"))
    answer = client.until_ready()
    assert pgwire.rows(answer) == [[b"first"]] and pgwire.kinds(answer)[-2:] == b"EZ"
    assert pgwire.rows(client.until_ready()) == [[b"behind"]]
    return answer


def pipelined_queries(client, sql):
    client.send(pgwire.query("select 'first'"), pgwire.query(sql), pgwire.query("select 'behind'"))
    assert pgwire.rows(client.until_ready()) == [[b"first"]]
    answer = client.until_ready()
    assert pgwire.rows(client.until_ready()) == [[b"behind"]]
    return answer


def sql_prepare(client, sql):
    answer = client.run(f"prepare kept as {sql}")
    assert pgwire.errors(client.run("execute kept")), "there is nothing to execute"
    return answer


def sql_prepare_pipelined(client, sql):
    """The EXECUTE is on its way before the PREPARE is answered."""
    client.send(pgwire.query(f"prepare kept as {sql}"), pgwire.query("execute kept"))
    answer = client.until_ready()
    assert pgwire.errors(client.until_ready())
    return answer


def cursor(client, sql):
    answer = client.run(f"begin; declare c cursor for {sql}; fetch all from c")
    client.run("rollback")
    return answer


def copied(client, sql):
    return client.run(f"copy ({sql}) to stdout")


def copied_binary(client, sql):
    return client.pipeline(pgwire.parse(f"copy ({sql}) to stdout (format binary)"), pgwire.bind(), pgwire.execute())


def explained(client, sql):
    return client.run(f"explain (analyze, verbose) {sql}")


def in_a_do_block(client, sql):
    return client.run(f"do $body$ begin {sql}; end $body$")


def created(client, sql):
    return client.run(f"create temp table taken as {sql}")


SENDERS = [simple, simple_in_pieces, simple_behind_others, simple_in_a_transaction, extended, extended_binary, extended_in_pieces,
           extended_step_by_step, pipelined, pipelined_queries, sql_prepare, sql_prepare_pipelined, cursor, copied, copied_binary, explained,
           in_a_do_block, created]


@pytest.fixture(scope="module")
def guarded(postgres, tmp_path_factory):
    postgres.psql("create table victim2 (id int); insert into victim2 values (1), (2);"
                  "create function wipe_victim2() returns int language plpgsql as $$ begin delete from victim2; return 1; end $$")
    daemon = Daemon(tmp_path_factory.mktemp("ways") / "run", [target_of(postgres)], POLICY, durability="relaxed").start()
    yield daemon
    daemon.close()


@pytest.fixture
def guest(guarded, postgres):
    with guarded.steered():
        connection = pgwire.Connection("127.0.0.1", postgres.port)
    yield connection
    assert pgwire.rows(connection.run("select 'lives on'")) == [[b"lives on"]]
    assert b"alice" not in connection.raw and b"root:x" not in connection.raw, "what is forbidden to be read was read"
    connection.close()
    assert postgres.psql("select count(*) from victim2") == "2", "a forbidden statement has run"


def refusal(messages):
    return next((e for e in pgwire.errors(messages) if e["C"] == "42501" and e["M"].startswith("blocked")), None)


@pytest.mark.parametrize("sender", SENDERS, ids=lambda sender: sender.__name__)
@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_is_forbidden_is_refused_however_it_is_sent(guest, name, sender):
    answer = sender(guest, FORBIDDEN[name])
    assert refusal(answer), pgwire.errors(answer)
    assert not [row for row in pgwire.rows(answer) if row != [b"first"]], "rows came with the refusal"


def test_every_cell_left_an_event(guarded):
    """The refusals of the table above are in the record, each with its rule or the reason why nothing is known."""
    blocked = guarded.events("type=command_blocked")
    assert len(blocked) >= len(FORBIDDEN) * len(SENDERS)
    assert {event["rule"] for event in blocked} <= {"no-destruction", "no-customers", "no-side-doors"}
    assert all(event["outcome"] == "refused" for event in blocked)


@pytest.mark.parametrize("sender", [simple, extended, pipelined, copied], ids=lambda sender: sender.__name__)
@pytest.mark.parametrize("encoding", ["SJIS", "BIG5", "GBK", "GB18030", "UHC", "JOHAB"])
def test_a_quote_that_an_encoding_hides(guest, encoding, sender):
    guest.run(f"set client_encoding = '{encoding}'")
    data = b"select E'\x83\x5c'; delete from victim2; --'"
    if sender is copied:
        data = b"copy (select E'\x83\x5c'; delete from victim2; --') to stdout"
    answer = {simple: lambda: [guest.send(pgwire.message(b"Q", data + b"\0")), guest.until_ready()][1],
              copied: lambda: [guest.send(pgwire.message(b"Q", data + b"\0")), guest.until_ready()][1],
              extended: lambda: guest.pipeline(pgwire.message(b"P", b"\0" + data + b"\0\0\0"), pgwire.bind(), pgwire.execute()),
              pipelined: lambda: guest.pipeline(pgwire.parse("select 1"), pgwire.bind(), pgwire.execute(),
                                                pgwire.message(b"P", b"\0" + data + b"\0\0\0"), pgwire.bind(), pgwire.execute())}[sender]()
    assert refusal(answer), pgwire.errors(answer)
    guest.run("set client_encoding = 'UTF8'")


HIDDEN_BY_A_SETTING = r"select 'a\'' ; delete from victim2; --'"
CHANGES = ["set standard_conforming_strings = off", "select set_config('standard_conforming_strings', 'off', false)",
           "do $$ begin set standard_conforming_strings = off; end $$"]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("how", ["query query", "parse parse", "query parse", "sync between", "flush between"])
def test_a_setting_changed_under_the_text(guest, change, how):
    """Way around 10: the second text means something else under the setting that the first one makes."""
    first, second = (pgwire.parse(change), pgwire.bind(), pgwire.execute()), (pgwire.parse(HIDDEN_BY_A_SETTING), pgwire.bind(), pgwire.execute())
    if how == "query query":
        guest.send(pgwire.query(change), pgwire.query(HIDDEN_BY_A_SETTING))
        answer = [guest.until_ready(), guest.until_ready()][1]
    elif how == "query parse":
        guest.send(pgwire.query(change), *second, pgwire.SYNC)
        answer = [guest.until_ready(), guest.until_ready()][1]
    elif how == "parse parse":
        answer = guest.pipeline(*first, *second)
    elif how == "sync between":
        guest.send(*first, pgwire.SYNC, *second, pgwire.SYNC)
        answer = [guest.until_ready(), guest.until_ready()][1]
    else:
        answer = guest.pipeline(*first, pgwire.FLUSH, *second)
    assert refusal(answer), (pgwire.errors(answer), pgwire.rows(answer))


@pytest.mark.parametrize("change", CHANGES)
def test_a_setting_changed_within_one_query_comes_too_late_for_it(guest, change):
    """The server reads a Query whole before it runs any of it, so there the text is a string, and no statement is hidden in it."""
    answer = guest.run(f"{change}; {HIDDEN_BY_A_SETTING}")
    assert pgwire.rows(answer)[-1] == [rb"a\' ; delete from victim2; --"]


def test_functions_by_number(guarded, postgres):
    """FunctionCall names no text: whatever a block rule could be about is refused, alone and within a pipeline."""
    with guarded.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        for function, argument in (("wipe_victim2()", None), ("pg_read_file(text)", b"/etc/passwd"), ("lo_import(text)", b"/etc/passwd")):
            oid = int(postgres.psql(f"select '{function}'::regprocedure::oid"))
            call = pgwire.function_call(oid, [argument] if argument else [], formats=[1] if argument else [], result_format=1)
            client.send(call)
            answer = client.until_ready()
            assert refusal(answer) and b"V" not in pgwire.kinds(answer)
            client.send(pgwire.query("select 'first'"), call, pgwire.query("select 'behind'"))
            assert pgwire.rows(client.until_ready()) == [[b"first"]]
            assert refusal(client.until_ready())
            assert pgwire.rows(client.until_ready()) == [[b"behind"]]
        assert b"root:x" not in client.raw
    assert postgres.psql("select count(*) from victim2") == "2"


def test_copy_in_is_decided_however_it_is_sent(guest):
    for statement in ("copy customers from stdin", "copy customers (id, name) from stdin with (format binary)", "copy customers from program 'true'",
                      "copy plain from '/etc/passwd'"):
        assert refusal(guest.run(statement)) and b"G" not in pgwire.kinds(guest.run(statement))
        answer = guest.pipeline(pgwire.parse(statement), pgwire.bind(), pgwire.execute())
        assert refusal(answer) and b"G" not in pgwire.kinds(answer)
        # A client that does not wait for CopyInResponse: its data must neither run nor be taken for messages.
        guest.send(pgwire.query(statement), pgwire.copy_data(b"1\tx\n"), pgwire.COPY_DONE, pgwire.query("select 'behind'"))
        assert refusal(guest.until_ready())
        assert pgwire.rows(guest.until_ready()) == [[b"behind"]]


def test_header_that_lies_for_every_message(guarded, postgres):
    """Way around 1: a length of 64 MiB, of nonsense, or too small, for each kind of message that may carry a statement or a value."""
    for kind in (b"Q", b"P", b"B", b"E", b"D", b"C", b"F", b"d", b"S", b"H", b"X"):
        for length in (64 << 20, 0x7fffffff, 0xffffffff, 3, 0):
            with guarded.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
                client.send(kind + struct.pack("!I", length) + b"\0delete from victim2\0\0\0\0\0")
                client.socket.shutdown(1)
                with pytest.raises((pgwire.Closed, ConnectionError)):
                    while True:
                        client.next()
    assert postgres.psql("select count(*) from victim2") == "2"


# --- card numbers in results × how a result is read

P = f"('{PAN[:8]}' || '{PAN[8:]}')"  # made by the server, so that the statement itself holds none
VALUES = {
    "text": f"{P}::text", "bigint": f"{P}::int8", "numeric": f"{P}::numeric", "bytea": f"convert_to({P}, 'UTF8')",
    "json": f"('{{\"pan\": ' || {P} || '}}')::json", "jsonb": f"('{{\"pan\": \"' || {P} || '\"}}')::jsonb", "array": f"array[{P}, 'x']",
    "bigint array": f"array[{P}::int8, 7]", "record": f"row(1, {P}, {P}::int8)", "xml": f"('<p>' || {P} || '</p>')::xml",
    "spaced": f"substr({P}, 1, 4) || ' ' || substr({P}, 5, 4) || ' ' || substr({P}, 9, 4) || ' ' || substr({P}, 13)",
}
RAW = [PAN.encode(), b"4111 1111 1111 1111", struct.pack("!q", int(PAN)), struct.pack("!d", float(PAN)), struct.pack("!hhhh", 4111, 1111, 1111, 1111),
       PAN.encode().hex().encode()]


def read_simple(client, value):
    return client.run(f"select {value} as v")


def read_byte_by_byte_of_many(client, value):
    """Values at every offset of what one read gives."""
    return client.run(f"select repeat('y', i), {value} from generate_series(1, 300) i")


def read_extended(client, value):
    return client.pipeline(pgwire.parse(f"select {value}"), pgwire.bind(), pgwire.describe(b"P"), pgwire.execute())


def read_extended_binary(client, value):
    return client.pipeline(pgwire.parse(f"select {value}"), pgwire.bind(result_formats=[1]), pgwire.execute())


def read_again_without_describe(client, value):
    answer = client.pipeline(pgwire.parse(f"select {value}", "again"))
    for formats in ([0], [1], [0]):
        answer += client.pipeline(pgwire.bind(statement="again", result_formats=formats), pgwire.execute())
    return answer


def read_pipelined(client, value):
    messages = []
    for i in range(20):
        messages += [pgwire.parse(f"select {i}, {value}"), pgwire.bind(result_formats=[0, i % 2]), pgwire.execute()]
    return client.pipeline(*messages)


def read_in_parts(client, value):
    return client.pipeline(pgwire.parse(f"select {value} from generate_series(1, 9)"), pgwire.bind(portal="p", result_formats=[1]),
                           pgwire.execute("p", 2), pgwire.execute("p", 2), pgwire.execute("p"))


def read_by_sql_prepare(client, value):
    return client.run(f"prepare q as select {value}") + client.run("execute q") + client.pipeline(
        pgwire.bind(statement="q", result_formats=[1]), pgwire.execute())


def read_by_cursors(client, value):
    return (client.run(f"begin; declare t cursor with hold for select {value} from generate_series(1, 4); declare b binary cursor for select {value}")
            + client.run("fetch 2 from t; fetch all from b; commit; fetch all from t"))


def read_by_returning(client, value):
    client.run("create temp table r (id int); insert into r values (1), (2)")
    return client.run(f"update r set id = id + 1 returning *, {value}") + client.run(f"insert into r values (7) returning {value}")


def read_by_copy(client, value):
    return client.run(f"copy (select {value}, 'x') to stdout")


def read_by_copy_csv(client, value):
    return client.run(f"copy (select {value}, 'x') to stdout with (format csv, header, force_quote *)")


def read_by_copy_binary(client, value):
    return client.pipeline(pgwire.parse(f"copy (select {value}, 'x') to stdout (format binary)"), pgwire.bind(), pgwire.execute())


def read_from_a_notice(client, value):
    return client.run(f"do $body$ begin raise notice 'v: %', {value}; end $body$")


def read_from_an_error(client, value):
    return client.run(f"do $body$ begin raise exception 'v: %', {value} using detail = {value}, hint = {value}; end $body$")


def read_from_a_failed_cast(client, value):
    """The server's own words: invalid input syntax for type integer: "…"."""
    return client.run(f"select ({value})::text::int")


def read_from_a_notification(client, value):
    client.run("listen ways")
    return client.run(f"select pg_notify('ways', ({value})::text)") + client.run("select 1")


def read_from_a_setting(client, value):
    return client.run(f"select set_config('application_name', left(({value})::text, 60), false)")


READERS = [read_simple, read_byte_by_byte_of_many, read_extended, read_extended_binary, read_again_without_describe, read_pipelined, read_in_parts,
           read_by_sql_prepare, read_by_cursors, read_by_returning, read_by_copy, read_by_copy_csv, read_by_copy_binary, read_from_a_notice,
           read_from_an_error, read_from_a_failed_cast, read_from_a_notification, read_from_a_setting]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@pytest.mark.parametrize("name", VALUES)
def test_no_card_number_reaches_the_client_however_it_is_read(sluice, postgres, name, reader):
    with pgwire.Connection("127.0.0.1", postgres.port) as direct:
        straight = reader(direct, VALUES[name])
        assert any(form in direct.raw for form in RAW), "this cell reads nothing that could be masked"
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        through = reader(client, VALUES[name])
        assert not [form for form in RAW if form in client.raw]
        assert pgwire.kinds(through) == pgwire.kinds(straight)
        comparable = [[len(payload) for kind, payload in answer if kind not in b"KS"] for answer in (through, straight)]
        assert comparable[0] == comparable[1], "lengths are kept"


@pytest.mark.parametrize("result_format", [0, 1])
@pytest.mark.parametrize("value", ["text", "bigint", "numeric", "bytea", "jsonb"])
def test_function_results_are_masked(sluice, postgres, value, result_format):
    postgres.psql(f"drop function if exists give(); create function give() returns {value} language sql as $$ select {VALUES[value]} $$")
    oid = int(postgres.psql("select 'give()'::regprocedure::oid"))
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        client.send(pgwire.function_call(oid, result_format=result_format))
        assert b"V" in pgwire.kinds(client.until_ready())
        assert not [form for form in RAW if form in client.raw]


# --- card numbers that a client sends × where it can put them

def test_no_card_number_that_a_client_sends_is_recorded(postgres, make_daemon):
    """What is sent reaches the server unchanged and the log masked, whichever message it is in (every file is looked through)."""
    daemon = make_daemon(durability="relaxed")
    binary, decimal = struct.pack("!q", int(PAN)), struct.pack("!hhHH", 4, 3, 0, 0) + struct.pack("!hhhh", 4111, 1111, 1111, 1111)
    echo = int(postgres.psql("create or replace function echo(text) returns int language sql as 'select length($1)'; select 'echo(text)'::regprocedure::oid"))
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        client.run("create temp table kept (t text, i int8, n numeric)")
        client.run(f"insert into kept values ('{PAN}', {PAN}, {PAN}.00) /* {PAN} */")
        client.pipeline(pgwire.parse(f"insert into kept values ('{PAN}', $1, $2)", f"s{PAN}", types=[20, 1700]),
                        pgwire.bind([binary, decimal], f"s{PAN}", f"p{PAN}", formats=[1, 1]), pgwire.execute(f"p{PAN}"))
        client.pipeline(pgwire.parse("insert into kept values ($1, $2, $3)"), pgwire.bind([PAN, PAN, PAN]), pgwire.execute())
        client.pipeline(pgwire.parse("insert into kept (t) values ($1)"), pgwire.bind(["x" * 300_000 + " " + PAN]), pgwire.execute())
        client.send(pgwire.query("copy kept from stdin"), pgwire.copy_data(f"{PAN}\t{PAN}\t{PAN}\n".encode()), pgwire.COPY_DONE)
        client.until_ready()
        client.send(pgwire.query("copy kept from stdin"), pgwire.copy_fail(f"card {PAN}"))
        assert MASKED in pgwire.errors(client.until_ready())[0]["M"]
        client.run(f"prepare with_card as select '{PAN}'")
        client.run("execute with_card")
        client.run(f"do $$ begin perform '{PAN}'; end $$")
        client.run(f"notify ways, '{PAN}'")
        client.run(f'select 1 as "{PAN}"')
        client.run(f"select * from \"{PAN}\"")
        client.send(pgwire.function_call(echo, [PAN.encode()]))
        assert b"V" in pgwire.kinds(client.until_ready())
        client.pipeline(pgwire.close(b"S", f"s{PAN}"), pgwire.execute(f"nobody {PAN}"))
        assert pgwire.rows(client.run("select count(*) from kept where i = 4111111111111111 or t like '%1111'")) == [[b"5"]]
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port, application_name=f"app {PAN}") as client:
        client.run("select 1")
    daemon.wait_event("type=session_ended")
    daemon.stop()
    for path in [daemon.log, *sorted((daemon.directory / "state").rglob("*"))]:
        if path.is_file():
            data = path.read_bytes()
            assert not [form for form in (PAN.encode(), binary, decimal[8:]) if form in data], path


def test_the_page_about_ways_around_names_tests_that_there_are():
    page = (ROOT / "docs/ways-around.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    there = {name for path in (ROOT / "tests/integration").glob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)}
    assert len(named) > 40 and named <= there, named - there
    for count, what in ((len(FORBIDDEN), "statements"), (len(SENDERS), "ways to send one"), (len(VALUES), "kinds of value"), (len(READERS), "ways to read one")):
        assert f"{count} {what}" in page
