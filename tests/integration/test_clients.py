"""Unchanged clients: psql, pgbench in every query mode, psycopg 3, libpq's pipeline mode."""
import pytest
from database import MASKED, PAN, PG_BIN

psycopg = pytest.importorskip("psycopg", reason="python3-psycopg is not installed (scripts/setup installs it)")


def psql(sluice, postgres, *arguments, **options):
    return sluice.run([PG_BIN / "psql", "-X", "-h", "127.0.0.1", "-p", postgres.port, "-U", "postgres", *arguments, "postgres"], **options)


@pytest.fixture
def connect(sluice, postgres):
    def make(**options):
        with sluice.steered():
            return psycopg.connect(f"host=127.0.0.1 port={postgres.port} user=postgres dbname=postgres", **options)

    return make


def test_psql(sluice, postgres):
    run = psql(sluice, postgres, "-A", "-t", "-c", "select pan from cards where id = 1")
    assert run.stdout == MASKED + "\n" and run.stderr == ""
    assert PAN not in psql(sluice, postgres, "-c", r"\copy cards to stdout").stdout
    assert "public" in psql(sluice, postgres, "-c", r"\d cards").stdout


def test_psql_large_objects_under_a_policy(postgres, make_daemon, tmp_path):
    """psql calls the large object functions by their numbers; a rule about something else does not touch them."""
    daemon = make_daemon('version: 1\nrules: [{name: no-truncate, when: {statement: truncate, tables: [public.cards]}, then: block}]\n')
    data = bytes(range(256)) * 1000
    (tmp_path / "in").write_bytes(data)
    run = psql(daemon, postgres, "-c", f"\\lo_import {tmp_path}/in", "-c", f"\\lo_export :LASTOID {tmp_path}/out", "-c", "\\lo_unlink :LASTOID")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "out").read_bytes() == data


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
@pytest.mark.parametrize("script", ["select-only", "tpcb-like"])
def test_pgbench(sluice, postgres, mode, script):
    if not postgres.psql("select to_regclass('pgbench_accounts')"):
        base = [PG_BIN / "pgbench", "-h", "127.0.0.1", "-p", postgres.port, "-U", "postgres"]
        assert sluice.run([*base, "-i", "-q", "-s", "1", "postgres"]).returncode == 0
    run = sluice.run([PG_BIN / "pgbench", "-n", "-h", "127.0.0.1", "-p", postgres.port, "-U", "postgres", "-M", mode, "-b", script, "-c", 4,
                      "-j", 2, "-t", 50, "postgres"])
    assert run.returncode == 0 and "number of failed transactions: 0 " in run.stdout, run.stderr


def test_psycopg(connect):
    with connect() as connection:
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            for _ in range(8):  # from the fifth on psycopg prepares
                assert cursor.execute("select pan from cards where id = %s", (1,)).fetchone() == (MASKED,)
            big = cursor.execute("select pan_big from cards where id = 1").fetchone()[0]
            assert isinstance(big, int) and str(big)[:6] == "411111" and str(big) != PAN
            assert cursor.execute("select pan_texts, pan_jsonb from cards where id = 1").fetchone()[0] == [MASKED, "x"]
        with connection.cursor("named") as cursor:
            cursor.execute("select pan from cards order by id")
            assert cursor.fetchmany(2)[0] == (MASKED,)


def test_psycopg_pipeline(connect):
    with connect(autocommit=True) as connection, connection.pipeline():
        cursors = [connection.execute("select %s::int, note from plain where id = %s", (i, i)) for i in range(1, 101)]
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(1, 101))


def test_psycopg_copy(connect):
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("create temp table copied (i int, pan text)")
        with cursor.copy("copy copied from stdin") as copy:
            for i in range(5000):
                copy.write_row((i, PAN))
        assert cursor.execute("select count(*), count(distinct pan) from copied").fetchone() == (5000, 1)
        with cursor.copy("copy copied to stdout") as copy:
            data = b"".join(copy)
        assert data.count(MASKED.encode()) == 5000 and PAN.encode() not in data


def test_psycopg_notifications(connect):
    with connect(autocommit=True) as listener, connect(autocommit=True) as sender:
        listener.execute("listen cards")
        sender.execute("select pg_notify('cards', '41111111' || '11111111')")
        assert next(iter(listener.notifies())).payload == MASKED


def test_large_objects(connect):
    with connect() as connection:
        data = bytes(range(256)) * 4096
        oid = connection.execute("select lo_from_bytea(0, %s)", (data,)).fetchone()[0]
        assert bytes(connection.execute("select lo_get(%s)", (oid,)).fetchone()[0]) == data
