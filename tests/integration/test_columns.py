"""Columns that policy names: masked whole wherever their values turn up, refused where a rule says so, and kept right while names change."""
import struct
import subprocess

import pgwire
import pytest
from conftest import target_of
from daemon import BINARY
from database import Database, wait_until

TABLE = """
create schema vault;
create table vault.people (id int primary key, note text, code text, pin int, score numeric, born date, extra jsonb, raw bytea);
insert into vault.people values (1, 'one', '737', 4711, 12.50, '1990-02-03', '{"a": 1}', '\\x010203'), (2, 'two', null, null, null, null, null, null);
create view vault.codes as select id, reverse(code) as backwards, note from vault.people;
create view vault.outer_codes as select id, upper(backwards) as x, note from vault.codes;
create table vault.parted (id int, code text) partition by range (id);
create table vault.parted_1 partition of vault.parted for values from (0) to (100);
insert into vault.parted values (1, '737');
create table plain (id int, note text);
insert into plain values (1, 'hello');
create function vault.secret(int) returns text language sql as 'select code from vault.people where id = $1';
create role catalog_reader login password 'catalog-secret';
"""
MASKS = """\
version: 1
rules:
  - name: codes
    when: {target: "*"}
    then: mask
    columns: [vault.people.code, "*.pin", vault.people.score, vault.people.born, vault.people.extra, vault.people.raw, "vault.parted.code"]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    database = Database(tmp_path_factory.mktemp("columns"))
    for parent in [database.directory, *database.directory.parents][:4]:
        parent.chmod(parent.stat().st_mode | 0o055)
    try:
        database.start_empty()
        database.psql(TABLE)
        yield database
    finally:
        database.stop()


def with_catalog(server, **more):
    return [target_of(server, catalog={"dsn": f"host=127.0.0.1 port={server.port} user=catalog_reader dbname=postgres"}, **more)]


@pytest.fixture(params=["catalog", "text"])
def masked(request, server, make_daemon):
    """A session of a target with and without a catalog."""
    daemon = make_daemon(policies=MASKS, targets=with_catalog(server) if request.param == "catalog" else [target_of(server)])
    with daemon.steered():
        client = pgwire.Connection("127.0.0.1", server.port)
    yield client
    client.close()


def values(client, sql):
    answer = client.run(sql)
    assert not pgwire.errors(answer), (sql, answer)
    return pgwire.rows(answer)


def copied(client, sql):
    answer = client.run(sql)
    assert not pgwire.errors(answer), (sql, answer)
    return b"".join(body for kind, body in answer if kind == b"d")


def loaded(client, sql, data):
    """The answer to COPY … FROM STDIN."""
    client.send(pgwire.query(sql), pgwire.copy_data(data), pgwire.COPY_DONE)
    return client.until_ready()


EXPRESSIONS = [
    ("code", b"***"), ("code as harmless", b"***"), ("substr(code, 1, 2)", b"**"), ("reverse(code)", b"***"), ("code || '!'", b"****"),
    ("encode(code::bytea, 'hex')", b"******"), ("translate(code, '7', 'x')", b"***"), ("code::int", b"000"), ("max(code)", b"***"),
    ("md5(code)", b"*" * 32), ("case when code like '7%' then 'yes' end", b"***"), ("coalesce(code, 'none')", b"***"),
    ("(select code from vault.people where id = 1)", b"***"), ("row_to_json(p)", None), ("to_jsonb(p)", None), ("p", None), ("array[code]", None),
    ("code like '7%'", None), ("length(code)", b"0"), ("pin", b"0000"), ("pin + 1", b"0000"), ("string_agg(code, ',')", b"***"),
]


@pytest.mark.parametrize("expression, expected", EXPRESSIONS, ids=[expression for expression, _ in EXPRESSIONS])
def test_an_expression_over_a_protected_column_is_masked_whole(masked, expression, expected):
    tail = "" if "max(" in expression or "string_agg" in expression else " and true"
    (row,), = values(masked, f"select {expression} from vault.people p where id = 1{tail}")
    if expected is None:
        assert row is None or not set(row) & set(b"7 1bt"), row
        assert row is None or b"737" not in row
    else:
        assert row == expected


def test_every_shape_of_a_query(masked):
    for sql, expected in {
        "select * from vault.people where id = 1": [b"1", b"one", b"***", b"0000", b"00.00", None, None, None],
        "select id, note, code, pin from vault.people where id = 2": [b"2", b"two", None, None],
        "with c as (select code as x from vault.people where id = 1) select x, 1 from c": [b"***", b"1"],
        "with recursive c as (select code as x, 1 as n from vault.people where id = 1 union all select x, n + 1 from c where n < 1) select x from c": [b"***"],
        "select x from (select upper(code) as x from vault.people where id = 1) s": [b"***"],
        "select note from plain union all select code from vault.people where id = 1 order by 1": [b"***"],
        "select l.x from plain, lateral (select code as x from vault.people where id = plain.id) l": [b"***"],
        "update vault.people set note = note where id = 1 returning id, code": [b"1", b"***"],
        "select id, note from vault.people where id = 1": [b"1", b"one"],
        "select note, 'x' from plain": [b"hello", b"x"],
        "select count(*) from vault.people": [b"2"],
        "values (1, 'a')": [b"1", b"a"],
        "show application_name": [b""],
    }.items():
        assert values(masked, sql)[0][:len(expected)] == [
            value if value is not None or index < 5 else values(masked, sql)[0][index] for index, value in enumerate(expected)], sql
    json = values(masked, "select extra, born, raw from vault.people where id = 1")[0]
    assert json == [b'"******"', None, b"\\x2a2a2a"]


def test_unknown_functions_are_masked_and_what_they_do_not_feed_is_not(masked):
    assert values(masked, "select vault.secret(1), 5, note from plain") == [[b"***", b"5", b"hello"]]
    assert values(masked, "select * from vault.secret(1)") == [[b"***"]]
    (found,), = values(masked, "select query_to_xml('select code from vault.people', true, true, '')::text")
    assert set(found) <= set(b"*")


def test_binary_results_and_prepared_statements(masked):
    sql = "select id, code, pin, score, born, extra, raw, reverse(code) from vault.people where id = $1"
    answer = masked.pipeline(pgwire.parse(sql, "p"), pgwire.describe(b"S", "p"), pgwire.bind([b"1"], "p", result_formats=[1]), pgwire.execute())
    assert not pgwire.errors(answer), answer
    expected = [struct.pack("!i", 1), b"***", bytes(4), bytes(8), None, b"\1" + b'"******"', b"***", b"***"]
    assert pgwire.rows(answer) == [expected]
    # Again without Describe, and without ever having been described.
    assert pgwire.rows(masked.pipeline(pgwire.bind([b"1"], "p", result_formats=[1]), pgwire.execute())) == [expected]
    answer = masked.pipeline(pgwire.parse(sql, "q"), pgwire.bind([b"1"], "q"), pgwire.execute())
    assert pgwire.rows(answer) == [[b"1", b"***", b"0000", b"00.00", None, b'"******"', b"\\x2a2a2a", b"***"]]
    # Prepared by SQL, run by SQL.
    assert not pgwire.errors(masked.run("prepare s as select reverse(code), id from vault.people where id = 1"))
    assert values(masked, "execute s") == [[b"***", b"1"]]


def test_cursors(masked):
    assert not pgwire.errors(masked.run("begin; declare c cursor for select id, code, reverse(code) from vault.people order by id"))
    assert values(masked, "fetch 1 from c") == [[b"1", b"***", b"***"]]
    assert not pgwire.errors(masked.run("commit"))
    assert not pgwire.errors(masked.run("do $$ begin execute 'declare hidden cursor with hold for select reverse(code) from vault.people where id = 1'; end $$"))
    assert values(masked, "fetch all from hidden") == [[b"***"]]


def test_copy(masked):
    lines = sorted(copied(masked, "copy vault.people (id, code, pin, note) to stdout").splitlines())
    assert lines == [b"1\t***\t****\tone", b"2\t\\N\t\\N\ttwo"]
    assert copied(masked, "copy (select reverse(code), id from vault.people where id = 1) to stdout") == b"***\t1\n"
    assert copied(masked, "copy (select id, code || ',\"' || code from vault.people where id = 1) to stdout csv") == b'1,"****""***"\n'
    assert copied(masked, "copy (select id, code from vault.people order by id) to stdout (format csv, delimiter ';', header)") == b"id;****\n1;***\n2;\n"
    whole = copied(masked, "copy vault.people to stdout")
    assert b"737" not in whole and b"4711" not in whole
    binary = copied(masked, "copy (select id, code from vault.people where id = 1) to stdout binary")
    assert b"737" not in binary and b"\0\0\0\3***" in binary
    assert copied(masked, "copy plain to stdout").count(b"\n") == 1


def test_codes_of_a_whole_table_are_known_by_the_catalog(server, make_daemon):
    server.psql("create table vault.coded (id int, cvv text, twice int generated always as (id * 2) stored); insert into vault.coded values (1, '737')")
    daemon = make_daemon(targets=with_catalog(server))
    with daemon.steered():
        client = pgwire.Connection("127.0.0.1", server.port)
    wait_until("the catalog was read", lambda: copied(client, "copy vault.coded to stdout") == b"1\t***\n")
    assert copied(client, "copy (select * from vault.coded) to stdout csv header") == b"id,cvv,twice\n1,***,2\n"
    client.close()


def test_large_values_stream_masked(masked):
    sql = "select repeat(code, 100000), note from vault.people where id = 1"
    assert values(masked, sql) == [[b"*" * 300000, b"one"]]
    assert copied(masked, f"copy ({sql}) to stdout") == b"*" * 300000 + b"\tone\n"


def test_errors_do_not_quote_protected_columns(masked):
    for sql in ("select (code || 'x')::int from vault.people where id = 1", "insert into vault.people (id, code) values (1, '737')",
                "update vault.people set id = 1 where id = 2"):
        answer = masked.run(sql)
        assert pgwire.errors(answer), sql
        assert not any(b"737x" in body or b"(id)=" in body for _, body in answer), answer
        assert any(b"message withheld" in body for _, body in answer), answer
    assert any(b"does not exist" in body for _, body in masked.run("select nosuch from vault.people")), "names are no values"


TELLTALES = """
create schema telling;
create table telling.plain (id int primary key, note text);
create table telling.late (id int, code text unique deferrable initially deferred);
insert into telling.late values (1, '737');
create function telling.tell() returns trigger language plpgsql as $$ declare found text; begin select code into found from vault.people where id = 1;
  raise notice 'noticed %', found; raise exception 'it is %', found using errcode = '42501'; end $$;
create trigger tells before insert on telling.plain for each row execute function telling.tell();
create table telling.deferred (id int, note text);
create constraint trigger tells_late after insert on telling.deferred deferrable initially deferred for each row execute function telling.tell();
create function telling.quiet() returns trigger language plpgsql as $$ begin return new; end $$;
create table telling.copied (id int, note text);
create trigger quiet before insert on telling.copied for each row execute function telling.quiet();
"""


def test_other_code_quotes_no_protected_columns(server, make_daemon):
    """Triggers on tables that hold nothing, at once and at the end of the transaction, with an SQLSTATE of their choice."""
    server.psql(TELLTALES)
    daemon = make_daemon(policies=MASKS.replace('"vault.parted.code"', "telling.late.code"), targets=with_catalog(server))
    with daemon.steered():
        client = pgwire.Connection("127.0.0.1", server.port)
    withheld = {
        "a trigger": lambda: client.run("insert into telling.plain values (1, 'x')"),
        "a trigger of COPY": lambda: loaded(client, "copy telling.plain from stdin", b"1\tx\n"),
        "a trigger at commit": lambda: client.run("begin; insert into telling.deferred values (1, 'x')") + client.run("commit"),
        "a trigger at a Sync": lambda: client.pipeline(pgwire.parse("insert into telling.deferred values (1, 'x')"), pgwire.bind(), pgwire.execute()),
        "a trigger at SET": lambda: client.run("begin; insert into telling.deferred values (1, 'x'); set constraints all immediate") + client.run("rollback"),
        "a constraint at commit": lambda: client.run("begin; update telling.late set id = 2; insert into telling.late values (3, '737')") + client.run("commit"),
    }
    for what, act in withheld.items():
        answer = act()
        assert pgwire.errors(answer), what
        assert any(b"message withheld" in body for _, body in answer), (what, answer)
        assert not any(b"737" in body for _, body in answer), (what, answer)
    answer = loaded(client, "copy telling.copied from stdin", b"x\ty\n")
    assert any(b"invalid input syntax" in body for _, body in answer), "COPY's own context is no other code"
    assert any(b"does not exist" in body for _, body in client.run("select nosuch from telling.plain"))
    client.close()


def test_views_and_partitions_are_seen_through_with_a_catalog(server, make_daemon):
    daemon = make_daemon(policies=MASKS, targets=with_catalog(server))
    with daemon.steered():
        client = pgwire.Connection("127.0.0.1", server.port)
    assert values(client, "select * from vault.codes where id = 1") == [[b"1", b"***", b"one"]]
    assert values(client, "select x, note from vault.outer_codes where id = 1") == [[b"***", b"one"]]
    assert values(client, "select upper(x) from vault.outer_codes where id = 1") == [[b"***"]]
    assert values(client, "select code from vault.parted_1") == [[b"***"]]
    assert values(client, "select reverse(code) from vault.parted_1") == [[b"***"]]
    assert values(client, "set search_path = vault; select reverse(code), note from people where id = 1; reset search_path") == [[b"***", b"one"]]
    assert b"2\ttwo\t\\N" in copied(client, "copy vault.people to stdout")
    client.close()
    findings = lambda: [f for e in daemon.events() if e["type"] == "command_completed" for f in e.get("findings", [])]  # noqa: E731
    wait_until("what was masked is in the log", lambda: any(f["kind"] == "column" and f["where"] == "column:1" for f in findings()))
    assert "737" not in daemon.log.read_text()


def test_renames_and_new_tables_open_no_gap(server, make_daemon):
    server.psql("create table vault.moving (id int, code text, note text); insert into vault.moving values (1, '737', 'seen')")
    policy = MASKS.replace('"vault.parted.code"', "vault.moving.code")
    daemon = make_daemon(policies=policy, targets=with_catalog(server))
    with daemon.steered():
        client, other = (pgwire.Connection("127.0.0.1", server.port) for _ in range(2))
    shown = lambda sql, session=client: values(session, sql)  # noqa: E731
    assert shown("select code, reverse(code), upper(note) from vault.moving") == [[b"***", b"***", b"SEEN"]]
    client.pipeline(pgwire.parse("select * from vault.moving", "p"))
    # Another session renames through Sluice: known by the time it was told so.
    assert not pgwire.errors(other.run("alter table vault.moving rename column code to harmless"))
    assert shown("select harmless, reverse(harmless), upper(note) from vault.moving") == [[b"***", b"***", b"SEEN"]]
    # In a transaction of its own, before anybody else can see it.
    assert not pgwire.errors(other.run("begin; alter table vault.moving rename column harmless to plainer"))
    assert shown("select plainer, upper(plainer), note from vault.moving", other) == [[b"***", b"***", b"seen"]]
    assert not pgwire.errors(other.run("commit; alter table vault.moving rename to moved"))
    assert shown("select plainer, upper(plainer), upper(note) from vault.moved") == [[b"***", b"***", b"SEEN"]]
    # Beside Sluice: names that nobody knows are masked until they are.
    server.psql("alter table vault.moved rename column plainer to odd")
    assert shown("select odd, upper(odd) from vault.moved") == [[b"***", b"***"]]
    # Dropped and made again.
    assert not pgwire.errors(other.run("drop table vault.moved; create table vault.moving (note text, code text); insert into vault.moving values ('seen', '737')"))
    assert shown("select code, note, lower(code) from vault.moving") == [[b"***", b"seen", b"***"]]
    server.psql("drop table vault.moving; create table vault.moving (code text, note text); insert into vault.moving values ('737', 'seen')")
    assert shown("select code from vault.moving") == [[b"***"]]
    wait_until("the new table is known", lambda: shown("select note, code from vault.moving") == [[b"seen", b"***"]])
    client.close()
    other.close()


def test_without_its_catalog_everything_unknown_is_masked(server, make_daemon):
    dead = [target_of(server, catalog={"dsn": "host=127.0.0.1 port=1 user=nobody dbname=postgres password=never-shown"})]
    daemon = make_daemon(policies=MASKS, targets=dead)
    failure = daemon.wait_event("type=control_failure")
    assert "catalog" in failure["detail"] and "never-shown" not in failure["detail"] + daemon.log.read_text()
    with daemon.steered():
        client = pgwire.Connection("127.0.0.1", server.port)
    assert values(client, "select code, note, upper(note), 5, 'x' from vault.people where id = 1") == [[b"***", b"***", b"***", b"5", b"x"]]
    assert values(client, "select relname from pg_class where relname = 'pg_class'") == [[b"pg_class"]]
    client.close()


def test_the_connection_of_the_catalog_is_not_led_to_sluice(server, make_daemon):
    daemon = make_daemon(policies=MASKS, targets=with_catalog(server), covered=True)
    with daemon.steered():
        client = pgwire.Connection("127.0.0.1", server.port)
    assert values(client, "select note, reverse(code) from vault.people where id = 1") == [[b"one", b"***"]]
    client.close()
    assert not [e for e in daemon.events("type=session_started") if e["identity"]["attested"].get("pid") == daemon.process.pid]
    assert "control_failure" not in {e["type"] for e in daemon.events()}


def test_conditions_on_columns(server, make_daemon):
    policy = """\
version: 1
rules:
  - {name: no-codes, when: {columns: [vault.people.code]}, then: block, because: Codes stay here.}
"""
    daemon = make_daemon(policies=policy, targets=with_catalog(server))
    with daemon.steered():
        client = pgwire.Connection("127.0.0.1", server.port)
    for refused in ("select code from vault.people", "select id from vault.people where code like '7%'", "select * from vault.people", "copy vault.people to stdout",
                    "select backwards from vault.codes", "select x from vault.outer_codes", "update vault.people set code = '1'", "delete from vault.people",
                    "select row_to_json(p) from vault.people p", "alter table vault.people drop column code"):
        answer = client.run(refused)
        assert pgwire.errors(answer), refused
        assert b"no-codes" in b"".join(body for _, body in answer), refused
    assert values(client, "select id, note from vault.people where id = 1") == [[b"1", b"one"]]
    assert values(client, "select note from vault.codes where id = 1") == [[b"one"]]
    client.close()


def test_untraceable_results_are_refused_where_policy_says_so(server, make_daemon):
    daemon = make_daemon(policies=MASKS + "    untraceable: block\n    numbers: null\n", targets=with_catalog(server))
    with daemon.steered():
        client = pgwire.Connection("127.0.0.1", server.port)
    for refused in ("select vault.secret(1)", "select * from vault.secret(1)", "fetch all from nothing", "execute nothing", "select * from pg_stats"):
        answer = client.run(refused)
        assert b"cannot be told" in b"".join(body for _, body in answer), (refused, answer)
    assert values(client, "select pin, score, code, note from vault.people where id = 1") == [[None, None, b"***", b"one"]]
    client.close()


def test_a_rule_that_comes_and_goes_reaches_sessions_that_go_on(server, make_daemon):
    daemon = make_daemon(policies="version: 1\n", targets=with_catalog(server))
    with daemon.steered():
        client = pgwire.Connection("127.0.0.1", server.port)
    run = lambda: pgwire.rows(client.pipeline(pgwire.bind(statement="p"), pgwire.execute()))  # noqa: E731
    client.pipeline(pgwire.parse("select code, reverse(code), note from vault.people where id = 1", "p"))
    assert run() == [[b"737", b"737", b"one"]]
    daemon.write_policy(MASKS)
    daemon.reload()
    wait_until("the rule is in force", lambda: run() == [[b"***", b"***", b"one"]])
    assert values(client, "select 1") == [[b"1"]]
    daemon.write_policy("version: 1\n")
    daemon.reload()
    wait_until("the rule is gone", lambda: run() == [[b"737", b"737", b"one"]])
    client.close()


def test_names_that_are_being_changed_when_the_first_rule_comes_are_not_trusted(server, make_daemon):
    server.psql("create table vault.early (id int, code text, note text); insert into vault.early values (1, '737', 'seen')")
    daemon = make_daemon(policies="version: 1\n", targets=with_catalog(server))
    with daemon.steered():
        client = pgwire.Connection("127.0.0.1", server.port)
    assert not pgwire.errors(client.run("begin; alter table vault.early rename column note to harmless; alter table vault.early rename column code to note"))
    daemon.write_policy(MASKS.replace('"vault.parted.code"', "vault.early.code"))
    daemon.reload()
    wait_until("the rule is in force", lambda: values(client, "select pin from vault.people where id = 1") == [[b"0000"]])
    assert values(client, "select upper(note), note from vault.early") == [[b"***", b"***"]]
    assert not pgwire.errors(client.run("rollback"))
    wait_until("names mean what they did", lambda: values(client, "select upper(note), upper(code) from vault.early") == [[b"SEEN", b"***"]])
    client.close()


def test_check_shows_bad_patterns_with_their_place(tmp_path):
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/a.yaml").write_text("version: 1\nrules:\n  - name: a\n    when: {columns: [a.b, a..b]}\n    then: mask\n")
    (tmp_path / "sluice.yaml").write_text(f"version: 1\ntargets:\n  - {{name: x, protocol: postgres, addresses: ['127.0.0.1:1'], catalog: {{dsn: 'service=x', x: 1}}}}\npolicies: {tmp_path}/policies\n")
    found = subprocess.run([BINARY, "check", "--config", tmp_path / "sluice.yaml"], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "a.yaml:4:27" in found.stdout + found.stderr and "unknown key `x` in `catalog`" in found.stdout + found.stderr
