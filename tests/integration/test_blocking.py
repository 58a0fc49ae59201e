"""What policy forbids does not run, whatever it is dressed as; and a refusal looks and acts as the server's own 42501."""
import struct

import pgwire
import pytest
from conftest import target_of
from daemon import Daemon

POLICY = """\
version: 1
default: allow
rules:
  - name: no-destruction
    when: {target: "*", statement: [drop, truncate, delete]}
    then: block
    because: Changes go through migrations.
  - name: no-customers
    when: {target: cards-db, tables: [public.customers]}
    then: block
    because: Ask the data owner.
"""


@pytest.fixture(scope="module")
def guarded(postgres, tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("guarded") / "run", [target_of(postgres)], POLICY).start()
    yield daemon
    daemon.close()


@pytest.fixture
def client(guarded, postgres):
    postgres.psql("create table if not exists victim (id int); delete from victim; insert into victim values (1), (2)")
    with guarded.steered():
        connection = pgwire.Connection("127.0.0.1", postgres.port)
    yield connection
    connection.close()
    assert postgres.psql("select count(*) from victim") == "2", "a blocked statement has run"


def refused(messages):
    found = [error for error in pgwire.errors(messages) if error["C"] == "42501" and error["M"].startswith("blocked")]
    return found[0] if found else None


def test_refusal_in_auto_commit(client):
    answer = client.run("drop table victim")
    error = refused(answer)
    assert "no-destruction" in error["M"] and "Changes go through migrations." in error["M"]
    assert error["S"] == error["V"] == "ERROR" and "P" not in error
    assert pgwire.kinds(answer) == b"EZ" and pgwire.status(answer) == "I"
    assert pgwire.rows(client.run("select 1")) == [[b"1"]]


def test_refusal_in_a_transaction(client):
    client.run("begin")
    assert pgwire.status(client.run("delete from victim")) == "E"
    assert pgwire.errors(client.run("select 1"))[0]["C"] == "25P02"
    assert pgwire.errors(client.run("drop table victim"))[0]["C"] == "25P02", "an aborted transaction says so, as the server does"
    assert pgwire.status(client.run("rollback")) == "I"
    assert pgwire.rows(client.run("select 1")) == [[b"1"]]


def test_refusal_at_parse_skips_to_sync(client):
    answer = client.pipeline(pgwire.parse("select 1"), pgwire.bind(), pgwire.execute(), pgwire.parse("truncate victim"), pgwire.bind(),
                             pgwire.execute(), pgwire.parse("select 2"), pgwire.bind(), pgwire.execute())
    assert pgwire.kinds(answer) == b"12DCEZ" and refused(answer)
    assert pgwire.rows(client.pipeline(pgwire.parse("select 3"), pgwire.bind(), pgwire.execute())) == [[b"3"]]


def test_several_statements_are_refused_whole(client, postgres):
    postgres.psql("create table if not exists touched (i int); truncate touched")
    answer = client.run("insert into touched values (1); drop table victim; select 1")
    assert pgwire.kinds(answer) == b"EZ" and refused(answer)
    assert postgres.psql("select count(*) from touched") == "0"


def test_policy_change_refuses_what_was_prepared(postgres, make_daemon):
    daemon = make_daemon("version: 1\nrules: []\n")
    with daemon.steered():
        client = pgwire.Connection("127.0.0.1", postgres.port)
    client.pipeline(pgwire.parse("select id from plain where id = $1", "ready"))
    assert pgwire.rows(client.pipeline(pgwire.bind(["1"], "ready"), pgwire.execute())) == [[b"1"]]
    version = daemon.status()["policy_version"]
    daemon.write_policy("version: 1\nrules:\n  - {name: no-plain, when: {tables: [plain]}, then: block, because: closed}\n")
    daemon.reload()
    from database import wait_until
    wait_until("the new policy", lambda: daemon.status()["policy_version"] != version)
    answer = client.pipeline(pgwire.bind(["1"], "ready"), pgwire.execute())
    assert refused(answer) and pgwire.status(answer) == "I" and not pgwire.rows(answer)
    assert pgwire.rows(client.run("select 1")) == [[b"1"]]
    client.close()


def test_invalid_policy_never_replaces_one_that_runs(postgres, make_daemon):
    daemon = make_daemon(POLICY)
    version = daemon.status()["policy_version"]
    daemon.write_policy("version: 1\nrules:\n  - {name: broken, when: {tabels: [x]}, then: block}\n")
    daemon.reload()
    daemon.wait_event("type=policy_rejected")
    assert daemon.status()["policy_version"] == version
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        assert refused(client.run("drop table nothing"))


DISGUISES = {
    "plain": "drop table victim",
    "comment of 9 MiB": "/*" + "x" * (9 << 20) + "*/ drop table victim",
    "nested comments": "/* /* */ */ drop /* ; */ table victim -- select",
    "escaped identifier": 'delete from U&"\\0076ictim"',
    "cte that writes": "with gone as (delete from victim returning *) select * from gone",
    "explain analyze": "explain analyze delete from victim",
    "sql prepare": "prepare x as delete from victim",
    "do block": "do $$ begin delete from victim; end $$",
    "do block, dynamic": "do $$ begin execute 'delete ' || 'from victim'; end $$",
    "do block, quoted": "do 'begin delete from victim; end'",
    "merge": "merge into victim v using (select 1 id) s on v.id = s.id when matched then delete",
    "dblink": "select dblink_exec('host=127.0.0.1', 'delete from victim')",
    "query_to_xml": "select query_to_xml('delete from victim', true, true, '')",
    "dollar quotes": "select $a$ $a$; delete from victim; select $b$ $b$",
    "user function": "select wipe_victim()",
    "schema qualified": "truncate table only public.victim",
    "unparsable": "dropp table victim",
    "newer syntax": "merge into victim v using (select 1 id) s on v.id = s.id when matched then delete returning v.id",
    "deep": "select " + "(" * 5000 + "1" + ")" * 5000 + "; drop table victim",
    "long sum": "select " + "1+" * 30_000 + "1; drop table victim",
    "many terms": "select " + ",".join(["1"] * 30_000) + "; drop table victim",
}


@pytest.mark.parametrize("name", DISGUISES)
@pytest.mark.parametrize("how", ["simple", "extended"])
def test_disguises(client, guarded, postgres, name, how):
    postgres.psql("create or replace function wipe_victim() returns int language plpgsql as $$ begin delete from victim; return 1; end $$")
    sql = DISGUISES[name]
    answer = client.run(sql) if how == "simple" else client.pipeline(pgwire.parse(sql), pgwire.bind(), pgwire.execute())
    assert refused(answer), pgwire.errors(answer)
    assert pgwire.rows(client.run("select 1")) == [[b"1"]]


READS = {
    "plain": "select * from customers",
    "qualified": "select * from public.customers",
    "only": "select * from only customers",
    "table": "table customers",
    "subquery": "select (select name from customers limit 1)",
    "copy": "copy customers to stdout",
    "copy query": "copy (select * from customers) to stdout",
    "create as": "create temp table taken as select * from customers",
    "select into": "select * into temp taken2 from customers",
    "view": "create temp view v as select * from customers",
    "escaped": 'select * from U&"\\0063ustomers"',
    "cursor": "begin; declare c cursor for select * from customers",
    "query_to_xml": "select query_to_xml('select * from customers', true, true, '')",
    "table_to_xml": "select table_to_xml('customers', true, true, '')",
    "insert select": "insert into plain select * from customers",
    "explain": "explain analyze select * from customers",
    "union": "select 'x' union select name from customers",
    "lateral": "select * from plain p, lateral (select * from customers) c",
    "exists": "select 1 where exists (select from customers)",
    "returning": "update customers set name = name returning *",
}


@pytest.mark.parametrize("name", READS)
def test_table_rule(client, name):
    assert refused(client.run(READS[name]))


def test_setting_changed_under_the_text(client, postgres):
    """Two messages in one segment: the second means something else under the setting that the first one makes (way around 10)."""
    client.send(pgwire.query("set standard_conforming_strings = off"), pgwire.query(r"select 'a\'' ; delete from victim; --'"))
    client.until_ready()
    assert refused(client.until_ready())
    client.pipeline(pgwire.parse("set standard_conforming_strings = on"), pgwire.bind(), pgwire.execute(),
                    pgwire.parse(r"select 'a\'' ; delete from victim; --'"))


def test_setting_changed_inside_a_pipeline(client):
    answer = client.pipeline(pgwire.parse("set standard_conforming_strings = off"), pgwire.bind(), pgwire.execute(),
                             pgwire.parse(r"select 'a\'' , (select 1 from victim) --'"), pgwire.bind(), pgwire.execute())
    assert pgwire.kinds(answer)[-1:] == b"Z"


@pytest.mark.parametrize("encoding", ["SJIS", "BIG5", "GBK", "GB18030", "UHC", "JOHAB"])
def test_encoding_that_hides_a_quote(client, encoding):
    client.run(f"set client_encoding = '{encoding}'")
    client.send(pgwire.message(b"Q", b"select E'\x83\x5c'; drop table victim; --'\0"))
    answer = client.until_ready()
    assert refused(answer) or pgwire.errors(answer)
    client.run("set client_encoding = 'UTF8'")


def test_function_call_is_decided(postgres, make_daemon):
    """FunctionCall names no text, so what it does is unknown: a block rule that it could satisfy matches (way around 7)."""
    daemon = make_daemon(POLICY)
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        client.send(pgwire.function_call(int(postgres.psql("select 'pg_backend_pid'::regproc::oid"))))
        answer = client.until_ready()
        assert refused(answer) and not [kind for kind, _ in answer if kind == b"V"]
        assert pgwire.rows(client.run("select 1")) == [[b"1"]]


def test_refused_copy_leaves_the_session_usable(client):
    assert refused(client.run("copy customers from stdin"))
    assert pgwire.rows(client.run("select 1")) == [[b"1"]]


def test_statement_over_the_limit(postgres, make_daemon):
    daemon = make_daemon(POLICY, targets=[target_of(postgres, statement_bytes_max=1 << 20)])
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        answer = client.run("select 1 /*" + "x" * (2 << 20) + "*/")
        assert pgwire.errors(answer)[0]["C"] == "54000" and pgwire.status(answer) == "I"
        answer = client.pipeline(pgwire.parse("select 1 /*" + "x" * (2 << 20) + "*/"), pgwire.bind(), pgwire.execute())
        assert pgwire.errors(answer)[0]["C"] == "54000"
        (size,), = pgwire.rows(client.pipeline(pgwire.parse("select length($1)", types=[25]), pgwire.bind(["v" * (20 << 20)]), pgwire.execute()))
        assert size == str(20 << 20).encode(), "a value of any size passes"


def test_header_that_lies_about_its_length(guarded, postgres):
    """A header that announces 64 MiB, or nonsense (way around 1)."""
    for length in (64 << 20, 0x7fffffff, 0xffffffff, 3, 0):
        with guarded.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
            client.send(b"Q" + struct.pack("!I", length) + b"drop table victim\0")
            client.socket.shutdown(1)
            with pytest.raises((pgwire.Closed, ConnectionError)):
                while True:
                    client.next()


def test_side_doors(client):
    for sql in ("copy plain to program 'cat'", "select pg_read_file('/etc/passwd')", "select lo_import('/etc/passwd')",
                "select lo_export(1, '/tmp/x')"):
        assert refused(client.run(sql)), sql


def test_default_block(postgres, make_daemon):
    """PCI DSS 7.3.3: deny by default."""
    import pwd, os  # noqa: E401
    user = pwd.getpwuid(os.getuid()).pw_name
    daemon = make_daemon(f"""version: 1
default: block
rules:
  - {{name: reads, when: {{statement: [select], tables: [plain], identity: {{user: {user}}}}}, then: allow}}
  - {{name: others, when: {{statement: [select], tables: [customers], identity: {{user: nobody}}}}, then: allow}}
""")
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        assert pgwire.rows(client.run("select id from plain where id = 1")) == [[b"1"]]
        for sql in ("select * from customers", "insert into plain values (1)", "select 1 from plain; drop table plain", "set role postgres",
                    "select * from plain, customers", "select wipe_victim() from plain", "nonsense"):
            assert refused(client.run(sql)), sql
        assert pgwire.status(client.run("rollback")) == "I"


def test_every_refusal_is_an_event(client, guarded):
    client.run("drop table victim /* for the record */")
    event = guarded.wait_event('type=command_blocked', lambda e: "for the record" in (e["command"]["text"] or ""))
    assert event["outcome"] == "refused" and event["rule"] == "no-destruction" and event["command"]["kinds"] == ["drop"]
    assert event["identity"]["attested"]["uid"] == 0 and event["identity"]["attested"]["exe"] and event["policy_version"]
