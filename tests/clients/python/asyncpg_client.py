"""asyncpg through Sluice. Prints one line for each check, "ok NAME" or "FAIL NAME why"; tests/integration/drivers.py reads them.
usage: asyncpg_client.py HOST PORT [CHECK...]
"""
import asyncio
import io
import sys

import asyncpg

PAN, MASKED = "4111111111111111", "411111******1111"
PAN_BIG, MASKED_BIG = 4111111111111111, 4111110000011111
CONNECT = {"host": sys.argv[1], "port": int(sys.argv[2]), "user": "postgres", "database": "postgres"}
CHECK_SECONDS_MAX = 60
RAISE = """do $$ begin raise notice 'card %', '41111111' || '11111111';
  raise exception 'declined %', '41111111' || '11111111' using detail = 'number 5555555555554444'; end $$"""


def equal(got, wanted):
    assert got == wanted, f"{got!r} is not {wanted!r}"


async def sqlstate(awaitable):
    try:
        await awaitable
    except asyncpg.PostgresError as error:
        return error.sqlstate
    return "no error"


async def prepared(connection):
    """Everything is binary and prepared in this driver."""
    statement = await connection.prepare("select pan, pan_big, pan_numeric, pan_bytes, pan_texts, pan_bigs, pan_jsonb from cards where id = $1")
    for _ in range(8):
        row = await statement.fetchrow(1)
        equal((row[0], row[1], int(row[2]), row[3], row[4], row[5]), (MASKED, MASKED_BIG, MASKED_BIG, MASKED.encode(), [MASKED, "x"], [MASKED_BIG]))
        equal(row[6], f'{{"pan": {MASKED_BIG}}}')
    equal(await connection.fetchval("select c from cards c where id = 1"), await connection.fetchval("select row(c.*) from cards c where id = 1"))
    assert PAN not in str(await connection.fetchval("select c from cards c where id = 1"))


async def simple(connection):
    equal(await connection.execute("select pan from cards; create temp table t (i int); insert into t values (1), (2)"), "INSERT 0 2")


async def blocked(connection):
    for _ in range(3):
        try:
            await connection.execute("truncate plain")
            raise AssertionError("truncate was let through")
        except asyncpg.InsufficientPrivilegeError as error:
            assert "no-truncate" in str(error), error
        equal(await sqlstate(connection.fetch("truncate plain")), "42501")
        equal(await connection.fetchval("select count(*) from plain"), 1000)


async def blocked_in_transaction(connection):
    transaction = connection.transaction()
    await transaction.start()
    equal(await sqlstate(connection.execute("truncate plain")), "42501")
    equal(await sqlstate(connection.fetchval("select 1")), "25P02")
    await transaction.rollback()
    equal(await connection.fetchval("select 2"), 2)


async def copy_text(connection):
    await connection.execute("create temp table copied (i int, pan text)")
    lines = io.BytesIO(b"".join(b"%d\t%s\n" % (i, PAN.encode()) for i in range(2000)))
    equal(await connection.copy_to_table("copied", source=lines, format="text"), "COPY 2000")
    out = io.BytesIO()
    equal(await connection.copy_from_table("copied", output=out, format="text"), "COPY 2000")
    equal((out.getvalue().count(MASKED.encode()), PAN.encode() in out.getvalue()), (2000, False))


async def copy_binary(connection):
    await connection.execute("create temp table copied_binary (i int, pan text, big bigint)")
    equal(await connection.copy_records_to_table("copied_binary", records=[(i, PAN, PAN_BIG) for i in range(2000)]), "COPY 2000")
    equal(await connection.fetchval("select count(*) from copied_binary where pan = '41111111' || '11111111' and big::text = pan"), 2000)
    out = io.BytesIO()
    await connection.copy_from_query("select * from copied_binary", output=out, format="binary")
    equal((out.getvalue().count(MASKED.encode()), PAN.encode() in out.getvalue()), (2000, False))
    equal((out.getvalue().count(MASKED_BIG.to_bytes(8, "big")), PAN_BIG.to_bytes(8, "big") in out.getvalue()), (2000, False))


async def pipeline(connection):
    """executemany sends Bind and Execute for many rows before one Sync."""
    await connection.execute("create temp table many (i int, t text)")
    await connection.executemany("insert into many values ($1, $2)", [(i, f"text {i}") for i in range(5000)])
    equal(await connection.fetchval("select count(*) from many"), 5000)
    equal(await sqlstate(connection.executemany("insert into many values ($1, 1 / $1::int)", [(1,), (0,), (2,)])), "22012")
    rows = await connection.fetch("select i from many order by i limit 3")
    equal([row[0] for row in rows], [0, 1, 2])


async def cursor(connection):
    async with connection.transaction():
        opened = await connection.cursor("select pan from cards order by id")
        equal([row[0] for row in await opened.fetch(2)], [MASKED, "555555******4444"])
        equal(len(await opened.fetch(10)), 4)
        count = 0
        async for row in connection.cursor("select id, note from plain order by id", prefetch=7):
            count += 1
            equal(tuple(row), (count, f"note {count}"))
        equal(count, 1000)


async def cancel(connection):
    """A timeout of this driver is a cancel request on a connection of its own."""
    try:
        await connection.execute("select pg_sleep(30)", timeout=0.4)
        raise AssertionError("not cancelled")
    except asyncio.TimeoutError:
        pass
    equal(await connection.fetchval("select 1"), 1)


async def notifications(connection):
    notified = asyncio.get_running_loop().create_future()
    await connection.add_listener("asyncpg", lambda _connection, _pid, _channel, payload: notified.set_result(payload))
    await connection.execute("select pg_notify('asyncpg', '41111111' || '11111111')")
    equal(await asyncio.wait_for(notified, 10), MASKED)


async def large_object(connection):
    data = bytes(i % 251 for i in range(1 << 20))
    oid = await connection.fetchval("select lo_from_bytea(0, $1)", data)
    assert await connection.fetchval("select lo_get($1)", oid) == data, "the object came back changed"
    await connection.execute("select lo_unlink($1)", oid)


async def errors(connection):
    notices = []
    connection.add_log_listener(lambda _connection, message: notices.append(message.message))
    try:
        await connection.execute(RAISE)
        raise AssertionError("no error")
    except asyncpg.RaiseError as error:
        equal((error.message, error.detail), (f"declined {MASKED}", "number 555555******4444"))
    equal(notices, [f"card {MASKED}"])
    equal(await sqlstate(connection.fetch("select 1/0")), "22012")


async def pool(_connection):
    async with asyncpg.create_pool(**CONNECT, min_size=1, max_size=8) as connections:
        notes = await asyncio.gather(*(connections.fetchval("select note from plain where id = $1", i) for i in range(1, 401)))
        equal(notes, [f"note {i}" for i in range(1, 401)])


async def rows(connection):
    equal([tuple(row) for row in await connection.fetch("select * from plain order by id")], [(i, f"note {i}") for i in range(1, 1001)])


CHECKS = [prepared, simple, blocked, blocked_in_transaction, copy_text, copy_binary, pipeline, cursor, cancel, notifications, large_object, errors,
          pool, rows]


async def run(check):
    connection = await asyncpg.connect(**CONNECT)
    try:
        await asyncio.wait_for(check(connection), CHECK_SECONDS_MAX)
    finally:
        await connection.close(timeout=5)


def main():
    for check in CHECKS:
        if len(sys.argv) > 3 and check.__name__ not in sys.argv[3:]:
            continue
        try:
            asyncio.run(run(check))
            print("ok", check.__name__, flush=True)
        except Exception as error:  # noqa: BLE001: whatever it is, it is the outcome of this check
            print("FAIL", check.__name__, repr(error).replace("\n", " "), flush=True)


main()
