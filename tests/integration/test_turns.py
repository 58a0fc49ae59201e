"""No client makes a worker's turn long: while one session sends what is dearest to look at, another one on the same worker is served.

A worker that does not turn for a second counts as hung, and new connections are then decided by when_down.
"""
import contextlib
import threading
import time

import pgwire
import pytest
from conftest import target_of
from daemon import Daemon
from database import PAN

TURN_SECONDS_MAX = 1  # Watcher::kHungAfterMs
ROUNDS = 1
DIGITS = "4111 1111 1111 1112 " * 800_000   # looks like cards everywhere, and is none
CARDS = (PAN + " ") * 200_000               # 3.4 MB of them
P = f"('{PAN[:8]}' || '{PAN[8:]}')"
RULES = "version: 1\nrules:\n" + "".join(f"  - {{name: rule-{i}, when: {{tables: [s{i}.t{i}], statement: [delete]}}, then: block, because: b}}\n" for i in range(4_000))


def many_texts(client):
    """Twenty thousand short texts that nobody has seen before, in one pipeline: each is analysed where it comes."""
    words = " union ".join(f"select {i}" for i in range(32))
    client.send(*(pgwire.parse(f"{words} union select {time.monotonic_ns() + i}") + pgwire.close(b"S") for i in range(20_000)), pgwire.SYNC)
    client.until_ready()


def many_binds(client):
    client.send(pgwire.parse("select $1::int", "s"), *([pgwire.bind(["1"], "s"), pgwire.execute()][i % 2] for i in range(20_000)), pgwire.SYNC)
    client.until_ready()


HOSTILE = {
    "digits in a text of 16 MB": lambda client: client.run(f"select length('{DIGITS[:15_900_000]}')"),
    "cards in a text": lambda client: client.run(f"select length('{CARDS}')"),
    "comment of 15 MB": lambda client: client.run("select 1 /*" + "/* 1 */" * 2_000_000 + "*/"),
    "parentheses": lambda client: client.run("select " + "(" * 4_000_000 + "1" + ")" * 4_000_000),
    "many terms": lambda client: client.run("select " + "1+" * 500_000 + "1"),
    "many relations": lambda client: client.run("select 1 from " + ",".join(f"s{i}.t{i}" for i in range(4_000))),
    "many functions": lambda client: client.run("select " + ",".join(f"f{i}()" for i in range(5_000))),
    "many short texts": many_texts,
    "many binds": many_binds,
    "digits as a value": lambda client: client.pipeline(pgwire.parse("select length($1)"), pgwire.bind([DIGITS]), pgwire.execute()),
    "thousands of values": lambda client: client.pipeline(pgwire.parse("select " + ",".join(f"${i}::text" for i in range(1, 1600))),
                                                          pgwire.bind(["4111 1111 1111 1112"] * 1599), pgwire.execute()),
    "digits in a result": lambda client: client.run("select repeat('4111 1111 1111 1112 ', 800000)"),
    "cards in a result": lambda client: client.run(f"select repeat({P} || ' ', 1000000)"),
    "cards in rows": lambda client: client.run(f"select {P}, {P}::int8, {P}::numeric from generate_series(1, 100000)"),
    "cards in a copy": lambda client: client.run(f"copy (select {P}, i from generate_series(1, 200000) i) to stdout"),
    "cards in a binary copy": lambda client: client.run(f"copy (select {P}::int8, i from generate_series(1, 200000) i) to stdout (format binary)"),
    "an array of cards": lambda client: client.pipeline(pgwire.parse(f"select array_agg({P}::int8) from generate_series(1, 300000)"),
                                                        pgwire.bind(result_formats=[1]), pgwire.execute()),
    "rows of nothing": lambda client: client.run("select from generate_series(1, 1000000)"),
    "columns": lambda client: [client.run("select " + ",".join(f"{i} c{i}" for i in range(1600))) for _ in range(50)],
    "tiny copy messages": lambda client: tiny_copy(client),
    "a long error": lambda client: client.run(f"do $$ begin raise exception '%', repeat({P} || ' ', 400000); end $$"),
}


def tiny_copy(client):
    client.send(pgwire.query("copy tiny from stdin"))
    client.until(b"G")
    client.send(b"".join(pgwire.copy_data(bytes([c])) for c in b"4111\n" * 100_000), pgwire.COPY_DONE)
    client.until_ready()


@pytest.fixture(scope="module")
def one_worker(postgres, tmp_path_factory):
    postgres.psql("create unlogged table tiny (t text)")
    daemon = Daemon(tmp_path_factory.mktemp("turns") / "run", [target_of(postgres)], RULES, durability="relaxed", workers=1).start()
    yield daemon
    daemon.close()


class Bystander(threading.Thread):
    """Asks for little, again and again, and keeps the longest time that it had to wait."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.client = pgwire.Connection("127.0.0.1", port)
        self.longest, self.served, self.over = 0.0, 0, False

    def run(self):
        while not self.over:
            began = time.monotonic()
            self.client.run("select 1")
            self.longest = max(self.longest, time.monotonic() - began)
            self.served += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.join()
        self.client.close()


@pytest.mark.slow  # a sanitizer makes everything tens of times dearer
@pytest.mark.parametrize("name", HOSTILE)
def test_others_are_served_meanwhile(one_worker, postgres, name):
    with one_worker.steered(), Bystander(postgres.port) as bystander, contextlib.ExitStack() as open_clients:
        clients = [open_clients.enter_context(pgwire.Connection("127.0.0.1", postgres.port)) for _ in range(3)]
        for client in clients:
            client.socket.settimeout(120)

        def hostile(client):
            for _ in range(ROUNDS):
                HOSTILE[name](client)

        threads = [threading.Thread(target=hostile, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(f"TURN {name}: {bystander.longest * 1000:.0f} ms, {bystander.served} served")
    assert bystander.longest < TURN_SECONDS_MAX, what_waited(one_worker)


def what_waited(daemon):
    """Whether it was the worker, or the disk that the log is on: a full ring makes sessions wait."""
    return "\n".join(line for line in daemon.metrics().splitlines() if line.startswith(("sluice_audit_log_commit_seconds", "sluice_gate_wait_seconds")))
    assert not [event for event in one_worker.events("type=control_failure") if "hangs" in (event["detail"] or "")]
