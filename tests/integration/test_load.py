"""Hostile load: thousands of sessions, connect storms, peers that dawdle on either side, floods. Bounded memory, fair service, nothing left behind."""
import contextlib
import os
import pathlib
import random
import resource
import socket
import struct
import subprocess
import sys
import threading
import time

import pgwire
import pytest
from conftest import target_of
from database import free_port, wait_until

SESSIONS = 5000
SESSION_BYTES_MAX = 32 << 10
MEMORY_KEPT_MAX = 1600 << 10  # 1,600 sessions that left a kilobyte each would show
SERVED_SECONDS = 5  # how long a small statement may take beside a hostile load, on a machine that does other things too


@pytest.fixture
def stub():
    """The port of a stub server."""
    port = free_port()
    script = pathlib.Path(__file__).with_name("stub_server.py")
    with subprocess.Popen([sys.executable, script, str(port)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        yield port
        process.kill()


@pytest.fixture
def loaded(make_daemon, postgres, stub):
    """A daemon with the stub server and the real one as targets."""
    return make_daemon(targets=[{"name": "stub", "addresses": [f"127.0.0.1:{stub}"]}, target_of(postgres)], durability="relaxed")


@contextlib.contextmanager
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resident(daemon):
    status = pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) * 1024


def descriptors(daemon):
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


def assert_served(postgres):
    """A new session on the real server is opened and answered in time."""
    began = time.monotonic()
    with pgwire.Connection("127.0.0.1", postgres.port) as client:
        assert pgwire.rows(client.run("select 41 + 1")) == [[b"42"]]
    assert time.monotonic() - began < SERVED_SECONDS


def assert_nothing_left(daemon, descriptors_before):
    wait_until("every session has ended", lambda: not daemon.sessions(), seconds=30)
    wait_until("descriptors are given back", lambda: descriptors(daemon) <= descriptors_before + 4)
    for target in daemon.status()["targets"]:
        seen = target["coverage"]
        assert seen["connects"] == seen["redirected"] + seen["refused"] + seen["exempt"] + seen["uncovered"]
    assert daemon.verify().returncode == 0


@pytest.mark.slow  # what the sanitizers add to each allocation is not the daemon's
def test_five_thousand_sessions(loaded, postgres, stub):
    before, memory = descriptors(loaded), resident(loaded)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < 3 * SESSIONS:
        pytest.skip(f"{hard} descriptors are too few")
    with many_descriptors(), loaded.steered(), contextlib.ExitStack() as open_clients:
        clients = [open_clients.enter_context(pgwire.Connection("127.0.0.1", stub)) for _ in range(SESSIONS)]
        assert resident(loaded) - memory < SESSIONS * SESSION_BYTES_MAX
        assert_served(postgres)
        for client in clients:  # all at once
            client.send(pgwire.query("select 1"))
        for client in clients:
            assert pgwire.rows(client.until_ready()) == [[b"1"]]
        assert resident(loaded) - memory < SESSIONS * SESSION_BYTES_MAX
        assert len(loaded.sessions()) == SESSIONS
    assert_nothing_left(loaded, before)


def map_entries(daemon):
    """How many entries each pinned map of the daemon's holds, by its name."""
    maps = sorted(path for path in pathlib.Path(daemon.pins).rglob("*") if path.is_file() and "map" in str(path))
    found = {}
    for path in maps:
        run = subprocess.run(["bpftool", "-j", "map", "dump", "pinned", str(path)], capture_output=True, text=True, check=False)
        if run.returncode == 0:
            found[path.name] = run.stdout.count('"key"')
    return found


def live_and_die(postgres, seed):
    """A session that makes whatever a session can hold, and ends in one of the ways in which sessions end."""
    chance = random.Random(seed)
    with contextlib.suppress(ConnectionError, pgwire.Closed), pgwire.Connection("127.0.0.1", postgres.port) as client:
        for number in range(20):
            client.send(pgwire.parse(f"select {number}, $1::text, pan from cards", f"statement {number}"), pgwire.describe(b"S", f"statement {number}"),
                        pgwire.bind(["x" * 500], f"statement {number}", f"portal {number}", result_formats=[1]), pgwire.execute(f"portal {number}", 2))
        client.send(pgwire.SYNC)
        client.until_ready()
        client.run("prepare by_sql as select $1::int; begin; declare c cursor with hold for select * from plain; fetch 3 from c; commit; listen ways")
        ending = chance.randrange(5)
        if ending == 0:
            client.send(pgwire.message(b"X"))
        elif ending == 1:
            client.send(pgwire.query("select repeat('y', 1000) from generate_series(1, 2000)"))  # leaves with its answer on the way
        elif ending == 2:
            client.send(pgwire.query("copy (select * from plain) to stdout")[:20])
        elif ending == 3:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            client.send(pgwire.parse("select 1", "s"), pgwire.bind(statement="s", portal="p"), pgwire.message(b"?"))


@pytest.mark.slow  # what the sanitizers keep of freed memory is not the daemon's
def test_closed_sessions_leave_nothing_behind(loaded, postgres):
    """Statements, portals, buffers, descriptors, keys for cancelling, map entries: as much after thousands of sessions as after some hundreds."""
    def round_of(sessions, seed):
        def work(part):
            for number in range(sessions // 8):
                live_and_die(postgres, seed + part * sessions + number)

        with loaded.steered():
            threads = [threading.Thread(target=work, args=(part,)) for part in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        wait_until("every session has ended", lambda: not loaded.sessions())
        wait_until("the server has ended them too", lambda: postgres.psql("select count(*) from pg_stat_activity where backend_type = 'client backend'") == "1")
        return resident(loaded), descriptors(loaded), map_entries(loaded)

    at_first = map_entries(loaded)
    assert at_first, "no map was looked at"
    # The events' ring keeps the memory of the largest event that each of its places ever held, so the first rounds fill it.
    memory, open_files, entries = round_of(4800, 0)
    assert entries == at_first
    for seed in (1, 2):
        memory_now, open_files_now, entries_now = round_of(800, seed * 100_000)
        assert entries_now == entries and open_files_now <= open_files + 2
    assert memory_now - memory < MEMORY_KEPT_MAX, f"{memory} bytes after 4,800 sessions, {memory_now} after 6,400"
    started, ended = (len(loaded.events(f"type={kind}")) for kind in ("session_started", "session_ended"))
    assert started == ended >= 6400


def storm(port, deadline, seed):
    """Connects, says some part of a conversation, and leaves: in good order, by closing, or with a reset."""
    chance = random.Random(seed)
    talk = pgwire.startup() + pgwire.query("select 1") + pgwire.message(b"X", b"")
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(talk[: chance.choice((0, 1, 7, len(pgwire.startup()), len(talk) - 3, len(talk)))])
            if chance.random() < 0.5:
                client.settimeout(0.05)
                client.recv(4096)
            if chance.random() < 0.5:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_connect_storm(loaded, postgres, stub):
    before = descriptors(loaded)
    with loaded.steered():
        deadline = time.monotonic() + 4
        threads = [threading.Thread(target=storm, args=(stub, deadline, seed)) for seed in range(8)]
        for thread in threads:
            thread.start()
        while time.monotonic() < deadline:
            assert_served(postgres)
        for thread in threads:
            thread.join()
        assert_served(postgres)
    assert_nothing_left(loaded, before)
    started, ended = (len(loaded.events(f"type={kind} and target=stub")) for kind in ("session_started", "session_ended"))
    assert started == ended > 100


def test_clients_that_dawdle(loaded, postgres, stub):
    """Slow-loris: hundreds that send their start-up byte by byte and never finish it."""
    before, memory = descriptors(loaded), resident(loaded)
    with loaded.steered(), contextlib.ExitStack() as held:
        clients = [held.enter_context(socket.create_connection(("127.0.0.1", stub))) for _ in range(300)]
        for byte in pgwire.startup()[:-1]:
            for client in clients:
                client.sendall(bytes([byte]))
        assert_served(postgres)
        wait_until("all are sessions", lambda: len(loaded.sessions()) == len(clients))
        assert all(session["state"] == "startup" for session in loaded.sessions())
        assert resident(loaded) - memory < 64 << 20
    assert_nothing_left(loaded, before)


@pytest.mark.parametrize("manner", ["drip", "mute"])
def test_servers_that_dawdle(loaded, postgres, stub, manner):
    before = descriptors(loaded)
    with loaded.steered(), contextlib.ExitStack() as held:
        for _ in range(200):
            client = held.enter_context(pgwire.Connection("127.0.0.1", stub, login=False))
            client.send(pgwire.startup(database=manner))
        for _ in range(3):
            assert_served(postgres)
    assert_nothing_left(loaded, before)


def test_server_that_floods(loaded, postgres, stub):
    """Notices without end, which nobody reads: they stay in the server."""
    before, memory = descriptors(loaded), resident(loaded)
    with loaded.steered(), contextlib.ExitStack() as held:
        for _ in range(50):
            client = held.enter_context(pgwire.Connection("127.0.0.1", stub, login=False))
            client.send(pgwire.startup(database="flood"))
        for _ in range(5):
            assert_served(postgres)
        assert resident(loaded) - memory < 64 << 20
    assert_nothing_left(loaded, before)


def test_small_statements_beside_large_results(loaded, postgres):
    """Sessions that stream as fast as they can do not starve one that asks for little."""
    stop = threading.Event()

    def stream():
        with pgwire.Connection("127.0.0.1", postgres.port) as client:
            while not stop.is_set():
                client.run("select repeat('y', 500) from generate_series(1, 20000)")

    with loaded.steered():
        threads = [threading.Thread(target=stream) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            with pgwire.Connection("127.0.0.1", postgres.port) as client:
                for number in range(30):
                    began = time.monotonic()
                    assert pgwire.rows(client.run(f"select {number}")) == [[str(number).encode()]]
                    assert time.monotonic() - began < SERVED_SECONDS
        finally:
            stop.set()
            for thread in threads:
                thread.join()
