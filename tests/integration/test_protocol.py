"""PostgreSQL to the last byte: COPY in binary format, every built-in type in binary, cursors, cancellation, protocol versions."""
import datetime
import itertools
import select
import struct
import threading

import pgwire
import psycopg
import pytest
from database import MASKED, PAN, wait_until

SIGNATURE = b"PGCOPY\n\xff\r\n\0"
PROTOCOL_3_2 = 3 << 16 | 2

# Values of types that hold no card number, and values that look like one where their type is not known.
INNOCENT = [
    "true", "'a'::\"char\"", "42::int2", "4111111::int4", "4111111111111112::int8", "3.14::float4", "1.0::float8", "2.5e15::float8",
    "-0.1::float8", "'NaN'::float8", "12345678901234567890.12::numeric", "'4111111111.111111'::numeric", "'NaN'::numeric",
    "'$22,123,456,789,012.34'::money", "'2026-11-21 10:11:12.131415'::timestamp", "'2999-12-31'::timestamptz", "'2126-04-12'::timestamptz",
    "'infinity'::timestamp", "'2026-11-21'::date", "'10:11:12'::time", "'10:11:12+01'::timetz", "'41 years 11 days 01:02:03.4'::interval",
    "'41111111-1111-1111-1111-111111111111'::uuid", "'10.11.12.13'::inet", "'2001:db8::41'::inet", "'10.0.0.0/8'::cidr", "'08:00:2b:01:02:03'::macaddr",
    "'08:00:2b:01:02:03:04:05'::macaddr8", "'16/B374D848'::pg_lsn", "'VISA1234'::text", "'C1234567'::varchar", "'password'::name",
    "B'0100000100010001'", "'{\"a\": [1, 2, {\"b\": null}]}'::jsonb", "'{\"a\": [1.5]}'::json", "'<a>b</a>'::xml", "'a:1 cat:2A'::tsvector",
    "'fat & rat'::tsquery", "'(1,2)'::point", "'((1,2),(3,4))'::path", "'((1,2),(3,4),(5,6))'::polygon", "'<(1,2),3>'::circle", "'{1,2,3}'::line",
    "'[2026-01-01,2126-04-12)'::tsrange", "'[2026-01-01,2027-01-01)'::daterange", "'{[1,5),[7,9)}'::int8multirange", "'[1,5)'::int4range",
    "'{1,NULL,3}'::int8[]", "'[0:1][2:3]={{1,2},{3,4}}'::int4[]", "'{}'::text[]", "'{2126-04-12,2199-12-31}'::timestamptz[]", "'{1.5,1}'::float8[]",
    "row(1, 'x', null, 1.0::float8, '2126-04-12'::timestamptz)", "null::int8",
]
# Values that hold a card number; the expression makes it, so that the statement itself holds none.
P = f"('{PAN[:8]}' || '{PAN[8:]}')"
CARRIERS = [
    f"{P}::text", f"{P}::varchar", f"{P}::bpchar", f"{P}::name", f"{P}::int8", f"{P}::numeric", f"({P} || '.00')::numeric", f"{P}::float8",
    f"convert_to({P}, 'UTF8')", f"('{{\"pan\": ' || {P} || ', \"s\": \"' || {P} || '\"}}')::json", f"('{{\"deep\": [[' || {P} || ']]}}')::jsonb",
    f"('<pan>' || {P} || '</pan>')::xml", f"array[{P}, null, 'x']", f"array[{P}::int8, null, 7]", f"array[[{P}::numeric], [1]]",
    f"array[jsonb_build_object('pan', {P}::int8)]", f"array[array[{P}::float8]]", f"row(1, {P}, row({P}::int8, {P}::numeric))",
    f"int8range({P}::int8, null)", f"int8multirange(int8range(1, 2), int8range({P}::int8, null))", f"numrange({P}::numeric, null)",
    f"to_tsvector('simple', {P})", f"{P}::tsquery", f"point({P}::float8, 0.5)", f"polygon(box(point(0, 0), point({P}::float8, 1)))",
    f"('$.pan ? (@ == ' || {P} || ')')::jsonpath", f"array[row({P}::int8)]",
]
FORMS = [PAN.encode(), struct.pack("!q", int(PAN)), struct.pack("!d", float(PAN)), struct.pack("!hhhh", 4111, 1111, 1111, 1111)]


def holds_card(data):
    return any(form in data for form in FORMS)


@pytest.fixture
def client(sluice, postgres):
    with sluice.steered():
        connection = pgwire.Connection("127.0.0.1", postgres.port)
    yield connection
    connection.close()


@pytest.fixture
def direct(postgres):
    with pgwire.Connection("127.0.0.1", postgres.port) as connection:
        yield connection


def copied(messages):
    """The stream of a COPY out."""
    assert not pgwire.errors(messages), pgwire.errors(messages)
    return b"".join(payload for kind, payload in messages if kind == b"d")


def copy_fields(stream, columns):
    """Fields of each row of a COPY stream in binary format."""
    assert stream.startswith(SIGNATURE) and stream.endswith(b"\xff\xff")
    position, found = len(SIGNATURE) + 8, []
    while stream[position:position + 2] != b"\xff\xff":
        assert struct.unpack("!H", stream[position:position + 2]) == (columns,)
        position, row = position + 2, []
        for _ in range(columns):
            (length,) = struct.unpack("!i", stream[position:position + 4])
            position += 4
            row.append(None if length < 0 else stream[position:position + length])
            position += max(length, 0)
        found.append(row)
    assert position + 2 == len(stream)
    return found


def binary_row(connection, expressions):
    """One row in binary by the extended protocol."""
    answer = connection.pipeline(pgwire.parse("select " + ", ".join(expressions)), pgwire.bind(result_formats=[1]), pgwire.execute())
    assert not pgwire.errors(answer), pgwire.errors(answer)
    (row,) = pgwire.rows(answer)
    return row


# --- types

def test_innocent_types_are_untouched_in_binary(client, direct):
    through, straight = binary_row(client, INNOCENT), binary_row(direct, INNOCENT)
    assert [e for e, a, b in zip(INNOCENT, through, straight) if a != b] == []


@pytest.mark.parametrize("expression", CARRIERS)
def test_carriers_are_masked_in_binary_and_stay_valid(client, direct, postgres, expression):
    ((through,), (straight,)) = (binary_row(c, [expression]) for c in (client, direct))
    assert holds_card(straight) and not holds_card(through) and len(through) == len(straight)
    if expression.startswith("row(") or "row(" in expression:
        return  # the server takes no anonymous records
    oid = int(postgres.psql(f"select pg_typeof({expression})::oid"))
    answer = direct.pipeline(pgwire.parse("select $1::text", types=[oid]), pgwire.bind([through], formats=[1]), pgwire.execute())
    assert not pgwire.errors(answer), "the server does not take the masked value: " + str(pgwire.errors(answer))
    assert PAN.encode() not in pgwire.rows(answer)[0][0]


@pytest.fixture(scope="module")
def user_types(postgres):
    """Types that the protocol names by numbers which mean nothing outside this database."""
    postgres.psql("create extension if not exists hstore; create type mood as enum ('SHIPPING', 'VISA1234'); create domain big as int8;"
                  "create domain money_amount as numeric; create domain doc as jsonb; create type card as (id int, pan text, n big, d doc);"
                  "create type floats as range (subtype = float8)")


UNKNOWN_CARRIERS = [f"hstore('k', rpad({P}, 48, '.'))", f"hstore({P}, null)", f"row(1, {P}, {P}::int8, jsonb_build_object('p', {P}::int8))::card",
                    f"array[{P}::big]", f"array[{P}::money_amount]", f"array[row(1, {P}, 7, null)::card]", f"floats({P}::float8, null)"]
UNKNOWN_INNOCENT = ["'SHIPPING'::mood", "array['VISA1234'::mood]", "floats(0.1, 1.0)", "hstore('a', 'b')", "row(1, 'x', 2, '{}')::card", "array[1.0::float8]"]


def test_types_of_a_user(client, direct, user_types):
    through, straight = binary_row(client, UNKNOWN_INNOCENT), binary_row(direct, UNKNOWN_INNOCENT)
    assert through == straight
    for expression in UNKNOWN_CARRIERS:
        ((through,), (straight,)) = (binary_row(c, [expression]) for c in (client, direct))
        assert holds_card(straight) and not holds_card(through) and len(through) == len(straight), expression


# --- COPY in binary format

def test_binary_copy_of_innocent_values_is_the_servers(client, direct, user_types):
    statement = "copy (select " + ", ".join(INNOCENT + UNKNOWN_INNOCENT) + ") to stdout (format binary)"
    assert client.run(statement) == direct.run(statement)


def test_binary_copy_of_many_floats_and_times_is_the_servers(client, direct):
    """As integers of 19 digits one float in ten is a card number; timestamps far ahead have 16 digits."""
    statement = """copy (select i * 0.01::float8, -i::float8 / 7, sqrt(i), '2000-01-01'::timestamp + i * interval '1 hour 3 seconds 7 microseconds',
                   '2069-01-01'::timestamptz + i * interval '1 day', i::money, md5(i::text)::uuid, chr(65 + i % 26) || lpad(i::text, 7, '0')
                   from generate_series(1, 50000) i) to stdout (format binary)"""
    assert copied(client.run(statement)) == copied(direct.run(statement))


# Coordinates are told from other bytes by their type alone, which COPY does not name (docs/masking.md).
COPY_CARRIERS = [expression for expression in CARRIERS + UNKNOWN_CARRIERS if not expression.startswith(("point(", "polygon("))]


@pytest.mark.parametrize("expression", COPY_CARRIERS)
def test_binary_copy_masks_every_form(client, direct, user_types, expression):
    statement = f"copy (select 1, {expression}, 'x') to stdout with binary"
    ((through,), (straight,)) = (copy_fields(copied(c.run(statement)), 3) for c in (client, direct))
    assert holds_card(straight[1])
    assert not holds_card(through[1]) and len(through[1]) == len(straight[1])
    assert (through[0], through[2]) == (straight[0], straight[2])


def test_masked_binary_copy_loads_again(client, direct, sluice):
    stream = copied(client.run("copy cards to stdout (format binary)"))
    assert PAN.encode() not in stream
    direct.run("create temp table again (like cards)")
    direct.send(pgwire.query("copy again from stdin (format binary)"))
    direct.until(b"G")
    direct.send(pgwire.copy_data(stream), pgwire.COPY_DONE)
    assert not pgwire.errors(direct.until_ready())
    assert [pan for (pan,) in pgwire.rows(direct.run("select pan from again where id = 1"))] == [MASKED.encode()]
    event = sluice.wait_event("type=command_completed", lambda e: any(f["where"] == "copy" for f in e["findings"]))
    assert sum(f["count"] for f in event["findings"]) > 0


def test_binary_copy_out_of_large_fields(client, direct):
    """Fields of any size; whatever is around it, the number in it is found."""
    for before in (0, 32_000, 32_760, 65_530, 400_000):
        statement = f"copy (select repeat('x', {before}) || ' ' || {P} || ' ' || repeat('y', 500000), 7) to stdout (format binary)"
        ((value, seven),) = copy_fields(copied(client.run(statement)), 2)
        assert len(value) == before + 500_018 and value[before + 1:before + 17] == MASKED.encode() and seven == struct.pack("!i", 7)
    statement = f"copy (select array_agg(case when i = 9000 then {P}::int8 else i end) from generate_series(1, 10000) i) to stdout (format binary)"
    (((value,),), ((straight,),)) = (copy_fields(copied(c.run(statement)), 1) for c in (client, direct))
    assert holds_card(straight) and not holds_card(value) and len(value) == len(straight)


def test_notices_between_the_rows_of_a_binary_copy(client, direct, postgres):
    postgres.psql("create or replace function noisy(i int) returns int language plpgsql as $$ begin raise notice 'row %', i; return i; end $$")
    statement = "copy (select noisy(i) from generate_series(1, 50) i) to stdout (format binary)"
    assert client.run(statement) == direct.run(statement)
    failing = "copy (select 1 / (5 - i) from generate_series(1, 10) i) to stdout (format binary)"
    assert client.run(failing) == direct.run(failing)
    assert pgwire.rows(client.run("select 1")) == [[b"1"]]


def test_binary_copy_through_the_extended_protocol(client, direct):
    messages = [pgwire.parse("copy plain to stdout (format binary)"), pgwire.bind(), pgwire.execute()]
    assert client.pipeline(*messages) == direct.pipeline(*messages)


def binary_stream(rows, header=SIGNATURE + struct.pack("!ii", 0, 0)):
    stream = header
    for row in rows:
        stream += struct.pack("!h", len(row)) + b"".join(struct.pack("!i", -1) if v is None else struct.pack("!i", len(v)) + v for v in row)
    return stream + b"\xff\xff"


@pytest.mark.parametrize("piece", [1, 7, 100, 10_000_000])
def test_binary_copy_in(client, piece):
    client.run("create temp table taken (id int, note text)")
    rows = [(struct.pack("!i", i), None if i % 5 == 0 else b"note " * i) for i in range(1, 200 if piece > 7 else 20)]
    stream = binary_stream(rows)
    client.send(pgwire.query("copy taken from stdin (format binary)"))
    client.until(b"G")
    client.send(*(pgwire.copy_data(stream[at:at + piece]) for at in range(0, len(stream), piece)), pgwire.COPY_DONE)
    answer = client.until_ready()
    assert (b"C", b"COPY %d\0" % len(rows)) in answer, pgwire.errors(answer)
    assert pgwire.rows(client.run("select count(*), sum(length(note)) from taken")) == \
        [[str(len(rows)).encode(), str(sum(len(v[1] or b"") for v in rows)).encode()]]


def test_large_binary_copy_in(client):
    client.run("create temp table large (v text)")
    client.send(pgwire.query("copy large from stdin (format binary)"))
    client.until(b"G")
    client.send(pgwire.copy_data(binary_stream([(b"v" * 3_000_000,), (b"w",)])), pgwire.COPY_DONE)
    assert not pgwire.errors(client.until_ready())
    assert pgwire.rows(client.run("select length(v) from large order by 1")) == [[b"1"], [b"3000000"]]


@pytest.mark.parametrize("stream", [b"1\tone\n", binary_stream([(b"a", b"b")]), binary_stream([(b"a",)]) + b"more", SIGNATURE + struct.pack("!II", 1 << 16, 0),
                                    binary_stream([(b"x" * 100_000,), (b"a", b"b"), (b"y" * 100_000,)])],
                         ids=["text", "too many fields", "data behind the trailer", "flags", "late in a large message"])
def test_malformed_binary_copy_in_fails_alone(client, sluice, stream):
    client.run("create temp table if not exists refused (v text)")
    client.send(pgwire.query("copy refused from stdin (format binary)"))
    client.until(b"G")
    client.send(pgwire.copy_data(stream), pgwire.COPY_DONE)
    (error,) = pgwire.errors(client.until_ready())
    assert error["C"] == "22P04" and "sluice" not in error["M"]
    assert pgwire.rows(client.run("select count(*) from refused")) == [[b"0"]]
    sluice.wait_event("type=protocol_violation", lambda e: "COPY in binary format" in e["detail"])


def test_binary_copy_with_a_driver(sluice, postgres):
    with sluice.steered():
        connection = psycopg.connect(f"host=127.0.0.1 port={postgres.port} user=postgres dbname=postgres")
    rows = [(i, f"note {i}", i / 7, datetime.datetime(2026, 4, 12, 1, 2, 3, i)) for i in range(1000)]
    with connection, connection.cursor() as cursor:
        cursor.execute("create temp table driven (id int8, note text, f float8, t timestamp)")
        with cursor.copy("copy driven from stdin (format binary)") as copy:
            copy.set_types(["int8", "text", "float8", "timestamp"])
            for row in rows:
                copy.write_row(row)
        with cursor.copy("copy (select * from driven order by id) to stdout (format binary)") as copy:
            copy.set_types(["int8", "text", "float8", "timestamp"])
            assert list(copy.rows()) == rows


def test_policy_decides_about_binary_copy(make_daemon, postgres):
    daemon = make_daemon("version: 1\nrules:\n  - {name: no-copy, when: {statement: [copy], tables: [cards]}, then: block, because: no}\n")
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as connection:
        for statement in ("copy cards to stdout (format binary)", "copy cards from stdin (format binary)"):
            assert pgwire.errors(connection.run(statement))[0]["C"] == "42501"
        assert copied(connection.run("copy plain to stdout (format binary)")).startswith(SIGNATURE)


# --- cursors, portals, re-execution

def test_binary_cursors(client, direct):
    """FETCH from a binary cursor gives binary values in a simple query."""
    for connection in (client, direct):
        connection.run(f"begin; declare b binary cursor for select {P}::int8, {P}::numeric, 1.0::float8, {P} from generate_series(1, 5);"
                       f"declare h cursor with hold for select {P}, 7")
    through, straight = (pgwire.rows(c.run("fetch 3 from b")) for c in (client, direct))
    assert len(through) == 3 and [[len(v) for v in row] for row in through] == [[len(v) for v in row] for row in straight]
    assert not any(holds_card(value) for row in through for value in row) and all(holds_card(v) for v in (straight[0][0], straight[0][1], straight[0][3]))
    assert through[0][2] == straight[0][2]
    for connection in (client, direct):
        assert not pgwire.errors(connection.run("fetch backward 1 from b; move 2 in b; commit"))
    assert pgwire.rows(client.run("fetch all from h")) == [[MASKED.encode(), b"7"]], "a holdable cursor outlives its transaction"
    assert pgwire.kinds(client.run("fetch 1 from b")) == pgwire.kinds(direct.run("fetch 1 from b"))


def test_cursors_through_the_extended_protocol(client, direct):
    steps = [[pgwire.parse(f"declare c binary cursor with hold for select i, {P} from generate_series(1, 9) i"), pgwire.bind(), pgwire.execute()],
             [pgwire.parse("fetch 2 from c", "f"), pgwire.bind(statement="f", result_formats=[1]), pgwire.execute()],
             *[[pgwire.bind(statement="f", result_formats=[i % 2]), pgwire.execute("", 1), pgwire.execute("", 0)] for i in range(3)],
             [pgwire.parse("close c"), pgwire.bind(), pgwire.execute()]]
    for messages in steps:
        through, straight = client.pipeline(*messages), direct.pipeline(*messages)
        assert pgwire.kinds(through) == pgwire.kinds(straight)
        assert not any(holds_card(v) for row in pgwire.rows(through) for v in row)
        assert [row[0] for row in pgwire.rows(through)] == [row[0] for row in pgwire.rows(straight)]


def test_portals_in_parts_with_other_commands_between(client, direct):
    messages = [pgwire.parse(f"select i, {P}::int8 from generate_series(1, 10) i", "s"), pgwire.bind(portal="p", statement="s", result_formats=[0, 1]),
                pgwire.execute("p", 3), pgwire.parse("select 'between'", "t"), pgwire.bind(portal="q", statement="t"), pgwire.execute("q"),
                pgwire.execute("p", 3), pgwire.FLUSH, pgwire.execute("p", 100), pgwire.execute("p", 1), pgwire.close(b"P", "p")]
    through, straight = client.pipeline(*messages), direct.pipeline(*messages)
    assert pgwire.kinds(through) == pgwire.kinds(straight) and pgwire.kinds(through).count(b"s") == 2
    assert [len(row) for row in pgwire.rows(through)] == [len(row) for row in pgwire.rows(straight)]
    assert not any(holds_card(v) for row in pgwire.rows(through) for v in row)


def test_an_error_with_all_its_fields(client, direct, postgres):
    postgres.psql("create table if not exists strict_one (id int constraint strict_check check (id < 10), d int not null)")
    for statement in ("insert into strict_one values (11, 1)", "insert into strict_one values (1, null)", "select 1 +", "do $$ begin perform 1/0; end $$",
                      "do $$ begin raise warning 'w' using detail = 'd', hint = 'h', table = 't', column = 'c', schema = 's', datatype = 'y', constraint = 'k'; end $$"):
        assert client.run(statement) == direct.run(statement)
    full = f"do $$ begin raise exception '%', {P} using detail = {P}, hint = {P}, table = {P}, column = {P}, constraint = {P}, datatype = {P}, schema = {P}; end $$"
    answer = client.run(full)
    assert not holds_card(b"".join(payload for _, payload in answer))
    assert {code for code, text in pgwire.errors(answer)[0].items() if MASKED in text} >= set("MDHstcdn")


def test_a_notice_with_all_its_fields(client, direct):
    full = f"do $$ begin raise warning '%', {P} using detail = {P}, hint = {P}, table = {P}, column = {P}, constraint = {P}, datatype = {P}, schema = {P}; end $$"
    (through,), (straight,) = (pgwire.notices(c.run(full)) for c in (client, direct))
    assert {code for code, text in straight.items() if PAN in text} == set("MDHstcdn")
    assert through == {code: text.replace(PAN, MASKED) for code, text in straight.items()}


# --- COPY with errors in the middle

def copy_in_with_an_error(connection, how, form):
    """The ninth row of 2,000 is wrong, and the client sends on without looking: 3 MB in messages of 1,000 bytes."""
    connection.run("create temp table middle (i int, t text)")
    statement = f"copy middle from stdin with (format {form})"
    if form == "binary":
        data = binary_stream([(struct.pack("!i", i) if i != 9 else b"no", b"x" * 1500) for i in range(2000)])
    else:
        separator = "," if form == "csv" else "\t"
        data = "".join(f"{i if i != 9 else 'nine'}{separator}{'x' * 1500}\n" for i in range(2000)).encode()
    messages = [pgwire.copy_data(data[at:at + 1000]) for at in range(0, len(data), 1000)] + [pgwire.COPY_DONE]
    if how == "simple":
        connection.send(pgwire.query(statement))
        answer = connection.until(b"G")
        connection.send(*messages)
    else:
        connection.send(pgwire.parse(statement), pgwire.bind(), pgwire.execute(), pgwire.FLUSH)
        answer = connection.until(b"G")
        connection.send(*messages, pgwire.SYNC)
    return answer + connection.until_ready() + connection.run("select count(*) from middle")


def copy_out_with_an_error(connection, how, form):
    statement = f"copy (select repeat('y', 700), 1 / (5000 - i) from generate_series(1, 9000) i) to stdout with (format {form})"
    answer = connection.run(statement) if how == "simple" else connection.pipeline(pgwire.parse(statement), pgwire.bind(), pgwire.execute())
    return answer + connection.run("select 'behind it'")


@pytest.mark.parametrize("form", ["text", "csv", "binary"])
@pytest.mark.parametrize("how", ["simple", "extended"])
@pytest.mark.parametrize("copy", [copy_in_with_an_error, copy_out_with_an_error], ids=["in", "out"])
def test_copy_with_an_error_in_the_middle(client, direct, copy, how, form):
    through, straight = copy(client, how, form), copy(direct, how, form)
    assert through == straight
    assert len(pgwire.errors(through)) == 1


@pytest.mark.parametrize("how", ["simple", "extended"])
def test_a_copy_in_that_is_cancelled_in_the_middle(sluice, postgres, how):
    """The request reaches the server while it waits for data; it acts on it when more has come."""
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port) as connection:
        connection.run("create temp table cancelled (t text)")
        statement = "copy cancelled from stdin"
        messages = [pgwire.query(statement)] if how == "simple" else [pgwire.parse(statement), pgwire.bind(), pgwire.execute(), pgwire.FLUSH]
        connection.send(*messages)
        connection.until(b"G")
        connection.send(pgwire.copy_data(b"some\n"))
        cancel(postgres, key_of(connection))
        connection.send(pgwire.copy_data(b"more\n"), pgwire.COPY_DONE, *([] if how == "simple" else [pgwire.SYNC]))
        answer = connection.until_ready()
        assert [error["C"] for error in pgwire.errors(answer)] == ["57014"] and pgwire.status(answer) == "I"
        assert pgwire.rows(connection.run("select count(*) from cancelled")) == [[b"0"]]


@pytest.mark.parametrize("ending", ["fail", "leave"])
def test_a_copy_in_that_the_client_gives_up(sluice, postgres, ending):
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port) as connection:
        postgres.psql("create table if not exists given_up (t text)")
        connection.send(pgwire.query("copy given_up from stdin"))
        connection.until(b"G")
        connection.send(pgwire.copy_data(b"one\ntw"))
        if ending == "fail":
            connection.send(pgwire.copy_fail("changed my mind"))
            assert pgwire.errors(connection.until_ready())[0]["C"] == "57014"
    running = "select count(*) from pg_stat_activity where query like 'copy given_up%' and state <> 'idle'"
    wait_until("the server has given it up", lambda: postgres.psql(running) == "0")
    assert postgres.psql("select count(*) from given_up") == "0"


def test_notifications_beside_a_copy(sluice, postgres):
    """They are handed out between commands, before ReadyForQuery: behind a COPY of either direction too, as directly."""
    def conversation():
        with pgwire.Connection("127.0.0.1", postgres.port) as connection:
            connection.run("listen beside; create temp table target (t text)")
            answer = []
            for statement in ("copy plain to stdout", "copy target from stdin"):
                connection.run("begin")
                postgres.psql(f"notify beside, 'paid {PAN}'")
                connection.send(pgwire.query(statement))
                if "from" in statement:
                    answer += connection.until(b"G")
                    connection.send(pgwire.copy_data(b"row\n"), pgwire.COPY_DONE)
                answer += connection.until_ready() + connection.run("commit") + connection.run("select 1")
            return answer

    straight = conversation()
    with sluice.steered():
        through = conversation()
    assert pgwire.kinds(through) == pgwire.kinds(straight) and pgwire.kinds(through).count(b"A") == 2
    assert all(MASKED.encode() in payload for kind, payload in through if kind == b"A")


def test_notifications_at_any_point(sluice, postgres):
    """A notification may come between any two messages; it reaches the client in its place, masked."""
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port) as listener:
        listener.run("listen news")
        postgres.psql(f"notify news, 'paid {PAN}'")
        kind, payload = listener.next()
        assert kind == b"A" and MASKED.encode() in payload, "an idle session hears it"
        listener.run("begin")
        postgres.psql("notify news, 'while open'")
        answer = listener.run("select 1")
        assert b"A" not in pgwire.kinds(answer)
        assert b"A" in pgwire.kinds(listener.run("commit") + listener.run("select 1"))


# --- cancellation

def cancel(postgres, key):
    with pgwire.Connection("127.0.0.1", postgres.port, login=False) as other:
        other.send(pgwire.cancel_request(struct.unpack("!I", key[:4])[0], key[4:]))
        with pytest.raises((pgwire.Closed, ConnectionError)):
            other.next()


def cancel_until_answered(postgres, connection):
    """A request that is there before its command finds an idle server, which ignores it."""
    def answered():
        cancel(postgres, key_of(connection))
        return select.select([connection.socket], [], [], 1)[0]

    wait_until("the cancel request ends the command", answered)


def key_of(connection):
    return next(payload for kind, payload in connection.greeting if kind == b"K")


busy_texts = itertools.count()


def keep_analysis_busy(postgres, clients, texts):
    """Statements whose analysis takes long, and none that was analysed before, on sessions of their own; returns those sessions."""
    busy = []
    for _ in range(clients):
        connection = pgwire.Connection("127.0.0.1", postgres.port)
        connection.send(*(pgwire.query("select 1" + "+1" * 9_000 + f" /* {next(busy_texts)} */") for _ in range(texts)))
        busy.append(connection)
    return busy


def cancel_while_it_waits(postgres, form, name):
    """Sends a statement that is to wait for its analysis, cancels it, and checks the answer. It may have been analysed before."""
    text = f"select pg_sleep(20), '{name}' /*" + "x" * 100_000 + "*/"
    with pgwire.Connection("127.0.0.1", postgres.port) as victim:
        if form == "transaction":
            victim.run("begin")
        busy = keep_analysis_busy(postgres, 12, 3)
        try:
            messages = [pgwire.parse(text), pgwire.bind(), pgwire.execute(), pgwire.SYNC] if form == "extended" else [pgwire.query(text)]
            victim.send(*messages)
            cancel_until_answered(postgres, victim)
            answer = victim.until_ready()
            (error,) = pgwire.errors(answer)
            assert error["C"] == "57014" and error["M"] == "canceling statement due to user request"
            assert pgwire.status(answer) == ("E" if form == "transaction" else "I")
            if form == "transaction":
                victim.run("rollback")
            assert pgwire.rows(victim.run("select 'lives on'")) == [[b"lives on"]]
        finally:
            for connection in busy:
                connection.close()


@pytest.mark.parametrize("form", ["simple", "extended", "transaction"])
def test_cancel_of_a_command_that_waits_in_sluice(sluice, postgres, form):
    """Its analysis is not done, so the server does not have it yet and would ignore the request."""
    with sluice.steered():
        for attempt in range(10):  # on a fast machine it may be analysed before the request comes, and then it is the server's to cancel
            name = f"parked {form} {attempt}"
            cancel_while_it_waits(postgres, form, name)
            if name not in postgres.statements():
                break
        else:
            raise AssertionError("the server saw it every time")
    event = sluice.wait_event("type=command_blocked", lambda e: name in (e["command"]["text"] or ""))
    assert event["command"]["error_code"] == "57014" if "error_code" in event["command"] else "57014" in str(event)


def test_a_cancel_never_meets_what_is_sent_after_it(sluice, postgres):
    """A command parked behind one that the server may still work on: the request is for both, so it goes to the server too. The next
    command, which the client sends when it has its answer, must not be the one that it meets there."""
    cancelled = 0
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port) as victim:
        for number in range(40):
            busy = keep_analysis_busy(postgres, 2, 2)
            parked = f"select 'second {number}' /*" + "x" * 20_000 + "*/"
            victim.send(pgwire.parse("select 'first'"), pgwire.bind(), pgwire.execute(), pgwire.parse(parked), pgwire.bind(), pgwire.execute(), pgwire.SYNC)
            cancel(postgres, key_of(victim))
            answer = victim.until_ready()
            assert [e["C"] for e in pgwire.errors(answer)] in ([], ["57014"])
            cancelled += len(pgwire.errors(answer))
            after = victim.run("select pg_sleep(0.02), 'next'")
            assert not pgwire.errors(after), "a command that was sent after the cancel was cancelled"
            for connection in busy:
                connection.close()
    assert cancelled > 0, "no cancel met its command: nothing was tried"


def test_cancel_of_nobody_and_of_an_idle_session(sluice, postgres):
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port) as connection:
        cancel(postgres, struct.pack("!II", 99_999, 12_345))
        cancel(postgres, key_of(connection))
        assert pgwire.rows(connection.run("select 1")) == [[b"1"]]


def test_cancels_hit_what_runs_and_nothing_else(sluice, postgres):
    """Many at once: each ends the statement of its own session."""
    with sluice.steered():
        connections = [pgwire.Connection("127.0.0.1", postgres.port) for _ in range(8)]
        for number, connection in enumerate(connections):
            connection.send(pgwire.query(f"select pg_sleep({20 if number % 2 else 2}), 'several {number}'"))
        running = "select count(*) from pg_stat_activity where query like 'select pg_sleep%several%' and state = 'active'"
        wait_until("all of them run", lambda: postgres.psql(running) == "8")
        threads = [threading.Thread(target=cancel, args=(postgres, key_of(c))) for c in connections[1::2]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number, connection in enumerate(connections):
            answer = connection.until_ready()
            assert bool(pgwire.errors(answer)) == bool(number % 2), pgwire.errors(answer)
            connection.close()


def test_a_killed_session_does_not_run_on_at_the_server(sluice, postgres):
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port) as connection:
        connection.send(pgwire.query("select pg_sleep(60), 'to be killed'"))
        running = "select count(*) from pg_stat_activity where query like 'select pg_sleep(60)%killed%' and state = 'active'"
        wait_until("the statement runs", lambda: postgres.psql(running) == "1")
        (session,) = [s for s in sluice.sessions() if s["state"] == "busy"]
        sluice.cli("sessions", "kill", session["id"])
        assert pgwire.fields(connection.next()[1])["C"] == "57P01"
        wait_until("the server has stopped it", lambda: postgres.psql(running) == "0", seconds=10)


# --- versions of the protocol

def greeting_of(postgres, version, **options):
    with pgwire.Connection("127.0.0.1", postgres.port, login=False) as connection:
        connection.send(pgwire.startup(version=version, **options))
        return connection.until_ready()


@pytest.mark.parametrize("version", [pgwire.PROTOCOL_3_0, PROTOCOL_3_2])
def test_negotiation_is_the_servers(sluice, postgres, version):
    direct = greeting_of(postgres, version)
    with sluice.steered():
        through = greeting_of(postgres, version)
    assert [m for m in through if m[0] != b"K"] == [m for m in direct if m[0] != b"K"]
    assert (b"v" in pgwire.kinds(through)) == (version != pgwire.PROTOCOL_3_0), "PostgreSQL 15 speaks 3.0"


def test_a_version_of_the_future_and_options(sluice, postgres):
    """The server is asked for what Sluice understands; the client hears what it would hear from such a server."""
    options = {"_pq_.something": "1", "_pq_.else": "x"}
    direct = greeting_of(postgres, 3 << 16 | 9999, **options)
    with sluice.steered():
        through = greeting_of(postgres, 3 << 16 | 9999, **options)
        only_options = greeting_of(postgres, pgwire.PROTOCOL_3_0, **options)
    assert [m for m in through if m[0] != b"K"] == [m for m in direct if m[0] != b"K"]
    assert only_options[0] == (b"v", struct.pack("!II", 3 << 16, 2) + b"_pq_.something\0_pq_.else\0")


def test_cancel_keys_of_any_legal_length_are_taken(sluice, postgres):
    with sluice.steered():
        for size in (4, 32, 256):
            cancel(postgres, struct.pack("!I", 1) + b"k" * size)
        with pgwire.Connection("127.0.0.1", postgres.port, login=False) as other:
            other.send(pgwire.cancel_request(1, b"k" * 257))
            assert other.next()[0] == b"E", "longer than any key may be"
