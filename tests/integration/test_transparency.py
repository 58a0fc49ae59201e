"""Clients notice nothing: without card data every byte from the server is the one it would have sent directly, except BackendKeyData."""
import struct
import subprocess

import pgwire
import pytest
from conftest import target_of
from database import PG_BIN, free_port, wait_until

LONG = "x" * 100_000

# Each scenario is a list of segments; each segment is sent whole, then the answer is read up to as many ReadyForQuery as it asks for.
SCENARIOS = {
    "simple": [pgwire.query("select 1, 'two', null::int, now() < now()"), pgwire.query("select * from plain order by id"), pgwire.query("")],
    "several statements": [pgwire.query("select 1; select 2; create temp table t(i int); insert into t values (1),(2); select * from t")],
    "errors": [pgwire.query("select 1/0"), pgwire.query("selec 1"), pgwire.query("select * from nowhere"), pgwire.query("select 1")],
    "transaction": [pgwire.query("begin"), pgwire.query("select 1/0"), pgwire.query("select 1"), pgwire.query("rollback"), pgwire.query("select 1")],
    "extended": [pgwire.parse("select $1::int + 1, note from plain where id = $1", "s", [23]) + pgwire.describe(b"S", "s") + pgwire.SYNC,
                 pgwire.bind(["7"], "s") + pgwire.describe(b"P") + pgwire.execute() + pgwire.SYNC,
                 pgwire.bind([struct.pack("!i", 7)], "s", formats=[1], result_formats=[1]) + pgwire.execute() + pgwire.SYNC,
                 pgwire.close(b"S", "s") + pgwire.SYNC],
    "pipeline": [b"".join(pgwire.parse(f"select {i}") + pgwire.bind() + pgwire.describe(b"P") + pgwire.execute() for i in range(50)) + pgwire.SYNC],
    "pipeline with an error": [pgwire.parse("select 1") + pgwire.bind() + pgwire.execute() + pgwire.parse("select 1/0") + pgwire.bind()
                               + pgwire.execute() + pgwire.parse("select 3") + pgwire.bind() + pgwire.execute() + pgwire.SYNC,
                               pgwire.query("select 4")],
    "portal in parts": [pgwire.query("begin"), pgwire.parse("select * from plain order by id") + pgwire.bind(portal="p") + pgwire.execute("p", 7)
                        + pgwire.execute("p", 5) + pgwire.execute("p") + pgwire.close(b"P", "p") + pgwire.SYNC, pgwire.query("commit")],
    "unknown statement": [pgwire.bind(statement="nobody") + pgwire.execute() + pgwire.SYNC, pgwire.query("select 1")],
    "copy out": [pgwire.query("copy plain to stdout"), pgwire.query("copy (select id, note from plain) to stdout with (format csv, header)")],
    "copy in": [pgwire.query("create temp table c(i int, t text)"), pgwire.query("copy c from stdin") + pgwire.copy_data(b"1\tone\n2\t")
                + pgwire.copy_data(b"two\n") + pgwire.COPY_DONE, pgwire.query("select * from c order by i"),
                pgwire.query("copy c from stdin") + pgwire.copy_fail("no more")],
    "large": [pgwire.query(f"select '{LONG}', repeat('y', 2000000)"), pgwire.parse("select length($1)", types=[25])
              + pgwire.bind([LONG * 30]) + pgwire.execute() + pgwire.SYNC],
    "notices": [pgwire.query("do $$ begin raise notice 'hello'; raise warning 'world'; end $$"), pgwire.query("drop table if exists nowhere")],
    "listen": [pgwire.query("listen here"), pgwire.query("notify here, 'there'"), pgwire.query("select 1")],
    "sql prepare": [pgwire.query("prepare q as select $1::int"), pgwire.query("execute q(3)"), pgwire.bind(["4"], "q") + pgwire.execute() + pgwire.SYNC,
                    pgwire.query("deallocate q")],
    "cursor": [pgwire.query("begin; declare c cursor for select * from plain order by id"), pgwire.query("fetch 3 from c"), pgwire.query("close c; end")],
    "settings": [pgwire.query("set application_name = 'someone'"), pgwire.query("set client_encoding = 'LATIN1'"), pgwire.query("select 'caf\\351'")],
    "flush": [pgwire.parse("select 1") + pgwire.FLUSH + pgwire.bind() + pgwire.describe(b"P") + pgwire.execute() + pgwire.SYNC],
}


def count_ready(segment):
    """How many ReadyForQuery the messages of a segment ask for."""
    count, position = 0, 0
    while position < len(segment):
        count += segment[position:position + 1] in (b"Q", b"S", b"F")
        position += 1 + struct.unpack("!I", segment[position + 1:position + 5])[0]
    return count


def conversation(port, segments, split=False):
    """Every message from the server; BackendKeyData (pid and key differ) left out."""
    messages = []
    with pgwire.Connection("127.0.0.1", port) as connection:
        messages += connection.greeting
        for segment in segments:
            if split:
                for position in range(len(segment)):
                    connection.send(segment[position:position + 1])
            else:
                connection.send(segment)
            for _ in range(count_ready(segment)):
                messages += connection.until_ready()
    return [m for m in messages if m[0] != b"K"]


def blank_table_oids(payload):
    """RowDescription with every table OID zeroed: a temporary table has another one in each session."""
    out, position = bytearray(payload), 2
    while position < len(payload):
        position = payload.index(b"\0", position) + 1
        out[position:position + 4] = b"\0\0\0\0"
        position += 18
    return bytes(out)


def comparable(messages):
    """Blanks what differs between two direct sessions too: the sender's process id in notifications, OIDs of temporary tables."""
    blanked = {b"A": lambda payload: payload[4:], b"T": blank_table_oids}
    return [(kind, blanked.get(kind, bytes)(payload)) for kind, payload in messages]


@pytest.mark.parametrize("name", SCENARIOS)
def test_bytes_equal_a_direct_connection(sluice, postgres, name):
    direct = conversation(postgres.port, SCENARIOS[name])
    with sluice.steered():
        through = conversation(postgres.port, SCENARIOS[name])
    assert comparable(through) == comparable(direct)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "large"])
def test_byte_by_byte(sluice, postgres, name):
    direct = conversation(postgres.port, SCENARIOS[name])
    with sluice.steered():
        through = conversation(postgres.port, SCENARIOS[name], split=True)
    assert comparable(through) == comparable(direct)


def test_unknown_portal(sluice, postgres):
    """Sluice describes a portal that it has not seen, so the error names another source line of the server; all else is equal."""
    def answer():
        with pgwire.Connection("127.0.0.1", postgres.port) as connection:
            error, = pgwire.errors(connection.pipeline(pgwire.execute("nobody")))
            return {code: text for code, text in error.items() if code not in "FLR"}

    direct = answer()
    with sluice.steered():
        assert answer() == direct and direct["C"] == "34000"


@pytest.mark.parametrize("user, password", [("scram_user", "scram-secret"), ("md5_user", "md5-secret"), ("clear_user", "clear-secret")])
def test_authentication_methods(sluice, postgres, user, password):
    command = [PG_BIN / "psql", "-X", "-A", "-t", "-h", "127.0.0.1", "-p", postgres.port, "-U", user, "-c", "select current_user", "postgres"]
    good = sluice.run(command, env={"PGPASSWORD": password})
    assert good.stdout.strip() == user, good.stderr
    bad = sluice.run(command, env={"PGPASSWORD": "wrong"})
    direct = subprocess.run(list(map(str, command)), capture_output=True, text=True, env={"PGPASSWORD": "wrong"}, check=False)
    assert bad.returncode == direct.returncode == 2 and bad.stderr == direct.stderr
    event = sluice.wait_event("type=authentication and outcome=failure", lambda e: e["identity"]["claimed"]["user"] == user)
    assert event["target"] == "cards-db"
    assert password not in sluice.cli("events", "--json").stdout


@pytest.mark.parametrize("request_bytes", [pgwire.SSL_REQUEST, pgwire.GSSENC_REQUEST, pgwire.SSL_REQUEST + b""], ids=["ssl", "gssenc", "ssl again"])
def test_encryption_requests_are_answered_no(sluice, postgres, request_bytes):
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port, login=False) as connection:
        connection.send(request_bytes)
        assert connection.byte() == b"N"
        connection.send(pgwire.startup())
        assert connection.until_ready()[-1] == (b"Z", b"I")


def test_gssenc_then_ssl_then_start(sluice, postgres):
    """What libpq does with gssencmode=prefer and sslmode=prefer (way around 15: one must not be taken for the other)."""
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port, login=False) as connection:
        for request in (pgwire.GSSENC_REQUEST, pgwire.SSL_REQUEST):
            connection.send(request)
            assert connection.byte() == b"N"
        connection.send(pgwire.startup())
        assert connection.until_ready()[-1] == (b"Z", b"I")


def test_a_server_that_is_down_is_passed_over(postgres, make_daemon):
    """A client with several hosts goes on to the next one; with one host it hears why, in the server's own words."""
    down = free_port()
    daemon = make_daemon(targets=[target_of(postgres), {"name": "standby", "addresses": [f"127.0.0.1:{down}"]}])
    command = [PG_BIN / "psql", "-X", "-A", "-t", "-c", "select 1"]
    run = daemon.run([*command, f"host=127.0.0.1,127.0.0.1 port={down},{postgres.port} user=postgres dbname=postgres"])
    assert (run.returncode, run.stdout) == (0, "1\n"), run.stderr
    for mode in ("disable", "prefer"):
        run = daemon.run([*command, f"host=127.0.0.1 port={down} user=postgres dbname=postgres sslmode={mode}"])
        assert run.returncode == 2 and "FATAL:  could not connect to the server: Connection refused" in run.stderr, run.stderr
    with daemon.steered(), pgwire.Connection("127.0.0.1", down, login=False) as silent:
        kind, payload = silent.next()  # who says nothing is not waited for
        assert kind == b"E" and pgwire.fields(payload)["C"] == "57P03"
    assert daemon.wait_event("type=session_ended and target=standby")["outcome"] == "failure"


def test_what_a_block_rule_makes_of_what_it_cannot_know(postgres, make_daemon):
    """Without a rule a typing error is the server's to report, word for word; under a block rule what cannot be read may be anything."""
    def codes(statements):
        with pgwire.Connection("127.0.0.1", postgres.port) as client:
            return [pgwire.errors(client.run(statement))[0]["C"] for statement in statements]

    statements = ["selec 1", "select raise_card()"]
    assert codes(statements) == ["42601", "P0001"]
    for policy, wanted in ((None, ["42601", "P0001"]), ("{statement: truncate}", ["42501", "42501"]), ("{target: nowhere}", ["42601", "P0001"])):
        rule = f"version: 1\nrules: [{{name: one, when: {policy}, then: block}}]\n"
        daemon = make_daemon(rule if policy else None)
        with daemon.steered():
            assert codes(statements) == wanted, policy


def test_a_statement_that_was_deallocated_can_be_prepared_again(postgres, make_daemon):
    """Drivers that keep prepared statements go by the SQLSTATE; under a block rule an unknown statement is refused by Sluice itself."""
    daemon = make_daemon('version: 1\nrules:\n  - {name: no-truncate, when: {target: "*", statement: truncate}, then: block, because: b}\n')
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        for forget in ("discard all", "deallocate s"):
            assert not pgwire.errors(client.pipeline(pgwire.parse("select 1", "s")))
            client.run(forget)
            for _ in range(2):
                answer = client.pipeline(pgwire.bind(statement="s"), pgwire.execute())
                assert [error["C"] for error in pgwire.errors(answer)] == ["26000"], (forget, answer)
            assert pgwire.rows(client.pipeline(pgwire.parse("select 1", "s"), pgwire.bind(statement="s"), pgwire.execute())) == [[b"1"]]
            assert not pgwire.errors(client.pipeline(pgwire.close(b"S", "s")))
        answer = client.pipeline(pgwire.bind(statement="never_seen"), pgwire.execute())
        assert [error["C"] for error in pgwire.errors(answer)] == ["26000"] and "no-truncate" in pgwire.errors(answer)[0]["M"]
    assert daemon.wait_event("type=command_blocked")["error_code"] == "26000"


def test_the_server_sees_the_port_of_the_daemon(sluice, postgres):
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        seen = pgwire.rows(client.run("select inet_client_port()"))[0][0]
        assert int(seen) != client.socket.getsockname()[1]


@pytest.mark.parametrize("mode", ["true", "on", "1", "Yes", "t", "database"])
def test_replication_is_refused(sluice, postgres, mode):
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port, login=False) as connection:
        connection.send(pgwire.startup(replication=mode))
        kind, payload = connection.next()
        assert kind == b"E" and "replication" in pgwire.fields(payload)["M"]
        with pytest.raises((pgwire.Closed, ConnectionError)):
            connection.next()
        origin = "%s:%d" % connection.socket.getsockname()
    event = sluice.wait_event("type=connect_refused", lambda e: e["origin"] == origin)
    assert event["outcome"] == "refused" and event["target"] == "cards-db"
    assert event["detail"] == f"replication={mode} for user postgres" and event["identity"]["attested"]["uid"] == 0


@pytest.mark.parametrize("mode", ["false", "off", "0", "no"])
def test_a_client_that_says_no_to_replication_is_an_ordinary_one(sluice, postgres, mode):
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port, replication=mode) as connection:
        assert pgwire.rows(connection.run("select 1")) == [[b"1"]]


def test_cancel_reaches_the_right_server(sluice, postgres):
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port) as connection:
        key = next(payload for kind, payload in connection.greeting if kind == b"K")
        connection.send(pgwire.query("select pg_sleep(30)"))
        # A server ignores the cancellation of a backend that is idle, so the statement has to be running first.
        running = "select count(*) from pg_stat_activity where query = 'select pg_sleep(30)' and state = 'active'"
        wait_until("the statement runs", lambda: postgres.psql(running) == "1")
        with pgwire.Connection("127.0.0.1", postgres.port, login=False) as other:
            other.send(pgwire.cancel_request(struct.unpack("!I", key[:4])[0], key[4:]))
            with pytest.raises((pgwire.Closed, ConnectionError)):
                other.next()
        assert pgwire.errors(connection.until_ready())[0]["C"] == "57014"
