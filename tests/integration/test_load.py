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
