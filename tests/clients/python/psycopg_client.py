"""psycopg 3 through Sluice, with whatever libpq it is bundled with. Prints one line for each check, "ok NAME" or "FAIL NAME why";
tests/integration/drivers.py reads them. usage: psycopg_client.py HOST PORT [CHECK...]; more connection parameters in $CONNINFO
"""
import os
import sys
import threading
import time

import psycopg
from psycopg import errors as pg
from psycopg.rows import scalar_row

PAN, MASKED = "4111111111111111", "411111******1111"
PAN_BIG, MASKED_BIG = 4111111111111111, 4111110000011111
CONNINFO = f"host={sys.argv[1]} port={sys.argv[2]} user=postgres dbname=postgres {os.environ.get('CONNINFO', '')}"
RAISE = """do $$ begin raise notice 'card %', '41111111' || '11111111';
  raise exception 'declined %', '41111111' || '11111111' using detail = 'number 5555555555554444'; end $$"""


def connect(**options):
    return psycopg.connect(CONNINFO, autocommit=True, **options)


def equal(got, wanted):
    assert got == wanted, f"{got!r} is not {wanted!r}"


def refused(run):
    try:
        run()
    except pg.InsufficientPrivilege as error:
        assert "no-truncate" in str(error), error
        return
    raise AssertionError("truncate was let through")


def prepared(connection):
    columns = "pan, pan_big, pan_numeric, pan_bytes, pan_texts, pan_bigs, pan_json"
    for binary in (False, True):
        for _ in range(8):
            row = connection.execute(f"select {columns} from cards where id = %s", (1,), prepare=True, binary=binary).fetchone()
            equal((row[0], row[1], int(row[2]), bytes(row[3])), (MASKED, MASKED_BIG, MASKED_BIG, MASKED.encode()))
            equal((row[4], row[5]), ([MASKED, "x"], [MASKED_BIG]))
            equal(row[6], {"pan": MASKED})


def simple(connection):
    cursor = psycopg.ClientCursor(connection)
    cursor.execute("select pan, pan_big from cards where id = 1; select count(*) from plain")
    equal(cursor.fetchone(), (MASKED, MASKED_BIG))
    cursor.nextset()
    equal(cursor.fetchone(), (1000,))


def blocked(connection):
    for _ in range(3):
        refused(lambda: connection.execute("truncate plain"))
        refused(lambda: connection.execute("truncate plain", prepare=True))
        refused(lambda: psycopg.ClientCursor(connection).execute("select 1; truncate plain"))
        equal(connection.execute("select count(*) from plain").fetchone(), (1000,))


def blocked_in_transaction(connection):
    try:
        with connection.transaction():
            refused(lambda: connection.execute("truncate plain"))
            try:
                connection.execute("select 1")
                raise AssertionError("the transaction goes on")
            except pg.InFailedSqlTransaction:
                raise psycopg.Rollback from None
    finally:
        equal(connection.execute("select 2").fetchone(), (2,))
    with connection.transaction():
        try:
            with connection.transaction():
                connection.execute("truncate plain")
        except pg.InsufficientPrivilege:
            equal(connection.execute("select 3").fetchone(), (3,))


def copy_text(connection):
    connection.execute("create temp table copied (i int, pan text)")
    with connection.cursor() as cursor:
        with cursor.copy("copy copied from stdin") as copy:
            for i in range(2000):
                copy.write_row((i, PAN))
        equal(cursor.execute("select count(*) from copied where pan = '41111111' || '11111111'").fetchone(), (2000,))
        with cursor.copy("copy copied to stdout") as copy:
            data = b"".join(copy)
    equal((data.count(MASKED.encode()), PAN.encode() in data), (2000, False))


def copy_binary(connection):
    connection.execute("create temp table copied_binary (i int, pan text, big bigint)")
    with connection.cursor() as cursor:
        with cursor.copy("copy copied_binary from stdin (format binary)") as copy:
            copy.set_types(["int4", "text", "int8"])
            for i in range(2000):
                copy.write_row((i, PAN, PAN_BIG))
        equal(cursor.execute("select count(*) from copied_binary where pan = '41111111' || '11111111' and big::text = pan").fetchone(), (2000,))
        with cursor.copy("copy copied_binary to stdout (format binary)") as copy:
            copy.set_types(["int4", "text", "int8"])
            equal(list(copy.rows()), [(i, MASKED, MASKED_BIG) for i in range(2000)])


def pipeline(connection):
    with connection.pipeline():
        cursors = [connection.execute("select %s::int, pan from cards where id = 1", (i,)) for i in range(200)]
        equal([cursor.fetchone() for cursor in cursors], [(i, MASKED) for i in range(200)])
    try:
        with connection.pipeline():
            first = connection.execute("select 1")
            connection.execute("truncate plain")
            connection.execute("select 3")
        raise AssertionError("truncate was let through")
    except pg.InsufficientPrivilege:
        equal(first.fetchone(), (1,))
    with connection.cursor() as cursor:
        cursor.execute("create temp table many (i int)")
        cursor.executemany("insert into many values (%s)", [(i,) for i in range(1000)])
        equal(cursor.execute("select count(*) from many").fetchone(), (1000,))


def cursor(connection):
    with connection.transaction(), connection.cursor("named", row_factory=scalar_row, scrollable=True) as named:
        named.execute("select pan from cards order by id")
        equal(named.fetchmany(2), [MASKED, "555555******4444"])
        named.scroll(0, mode="absolute")
        equal(named.fetchone(), MASKED)
        equal(len(named.fetchall()), 5)
    rows = list(connection.cursor().stream("select id, note from plain order by id"))
    equal(rows, [(i, f"note {i}") for i in range(1, 1001)])


def cancel(connection):
    """Both the call that libpq 17 brought and the old one."""
    for name in ("cancel_safe", "cancel"):
        if hasattr(connection, name):
            # Later than the statement began, on any machine; a cancel before it would end nothing.
            canceller = threading.Thread(target=lambda name=name: (time.sleep(0.3), getattr(connection, name)()))  # see above
            canceller.start()
            try:
                connection.execute("select pg_sleep(30)")
                raise AssertionError("not cancelled")
            except pg.QueryCanceled:
                pass
            canceller.join()
            equal(connection.execute("select 1").fetchone(), (1,))


def notifications(connection):
    connection.execute("listen psycopg")
    with connect() as sender:
        sender.execute("select pg_notify('psycopg', '41111111' || '11111111')")
    equal(next(connection.notifies()).payload, MASKED)


def large_object(connection):
    data = bytes(i % 251 for i in range(1 << 20))
    oid = connection.execute("select lo_from_bytea(0, %s)", (data,)).fetchone()[0]
    assert bytes(connection.execute("select lo_get(%s)", (oid,)).fetchone()[0]) == data, "the object came back changed"
    connection.execute("select lo_unlink(%s)", (oid,))


def errors(connection):
    notices = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    try:
        connection.execute(RAISE)
        raise AssertionError("no error")
    except pg.RaiseException as error:
        equal((error.diag.message_primary, error.diag.message_detail), (f"declined {MASKED}", "number 555555******4444"))
    equal(notices, [f"card {MASKED}"])
    try:
        connection.execute("select 1/0")
        raise AssertionError("no error")
    except pg.DivisionByZero:
        pass


def protocol(connection):
    """Which version of the protocol was agreed on: what $PROTOCOL says."""
    equal(str(connection.pgconn.full_protocol_version), os.environ.get("PROTOCOL", "30000"))


CHECKS = [prepared, simple, blocked, blocked_in_transaction, copy_text, copy_binary, pipeline, cursor, cancel, notifications, large_object, errors,
          protocol]


def main():
    for check in CHECKS:
        if len(sys.argv) > 3 and check.__name__ not in sys.argv[3:]:
            continue
        try:
            with connect() as connection:
                check(connection)
            print("ok", check.__name__, flush=True)
        except Exception as error:  # noqa: BLE001: whatever it is, it is the outcome of this check
            print("FAIL", check.__name__, repr(error).replace("\n", " "), flush=True)


main()
