"""When things fail: kill -9 in a loop, full disks, garbage, slow peers, disconnects at every point, no descriptors left."""
import contextlib
import os
import random
import socket
import struct
import subprocess
import threading
import time

import pgwire
import pytest
from conftest import target_of
from database import PG_BIN, free_port, wait_until


def refused_connect(port):
    with contextlib.closing(socket.socket()) as probe:
        probe.settimeout(10)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_kill_9_then_refused_then_back(postgres, make_daemon):
    daemon = make_daemon()
    with daemon.steered():
        with pgwire.Connection("127.0.0.1", postgres.port) as client:
            client.run("select 1")
        daemon.kill()
        assert refused_connect(postgres.port), "the very next connect must be refused"
        daemon.start()
        with pgwire.Connection("127.0.0.1", postgres.port) as client:
            assert pgwire.rows(client.run("select 1")) == [[b"1"]]
    coverage = daemon.coverage()
    assert coverage["refused"] >= 1
    assert coverage["connects"] == sum(coverage[k] for k in ("redirected", "refused", "exempt", "uncovered"))


def test_when_down_allow(postgres, make_daemon):
    daemon = make_daemon(targets=[target_of(postgres, when_down="allow")])
    daemon.kill()
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        assert pgwire.rows(client.run("select pan from cards where id = 1"))[0][0].startswith(b"4111111")
    daemon.start()
    assert daemon.coverage()["uncovered"] >= 1


def test_graceful_stop_decides_by_when_down(postgres, make_daemon):
    daemon = make_daemon()
    assert daemon.stop() == 0
    with daemon.steered():
        assert refused_connect(postgres.port)
    assert daemon.verify().returncode == 0
    assert daemon.cli("unload").returncode == 0
    with daemon.steered():
        assert not refused_connect(postgres.port)
    assert not os.path.exists(daemon.pins)


def test_second_instance_is_refused(make_daemon):
    daemon = make_daemon()
    second = daemon.cli("run", check=False)
    assert second.returncode not in (0, 3) and "another" in second.stderr, second
    assert daemon.status()["state"] == "running"


def test_hung_daemon_is_as_a_dead_one(postgres, make_daemon):
    daemon = make_daemon()
    daemon.process.send_signal(19)  # SIGSTOP
    try:
        with daemon.steered():
            wait_until("connects are refused", lambda: refused_connect(postgres.port), seconds=15)
    finally:
        daemon.process.send_signal(18)
    with daemon.steered():
        wait_until("connects are taken again", lambda: not refused_connect(postgres.port), seconds=15)


@pytest.mark.slow
def test_kill_9_under_load_loses_no_intent(postgres, make_daemon):
    """Strict: whatever the server was asked to run has its event in the log, however often the daemon dies."""
    daemon = make_daemon(durability="strict")
    for round_number in range(6):
        stop = threading.Event()

        def load(worker, tag=round_number, halt=stop):
            number = 0
            with contextlib.suppress(OSError, pgwire.Closed):
                client = clients[worker]
                while not halt.is_set():
                    client.run(f"select 'mark-{tag}-{worker}-{number}'")
                    number += 1

        with daemon.steered():
            clients = [pgwire.Connection("127.0.0.1", postgres.port) for _ in range(4)]
        threads = [threading.Thread(target=load, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(random.uniform(0.2, 0.8))  # the kill has to come at a random moment of the load
        daemon.kill()
        stop.set()
        for thread in threads:
            thread.join()
        daemon.start()
    ran = {line.split("mark-")[1].split("'")[0] for line in postgres.statements().splitlines() if "mark-" in line and "statement:" in line}
    recorded = {e["command"]["text"].split("mark-")[1].split("'")[0] for e in daemon.events("type=command_received")
                if "mark-" in (e["command"]["text"] or "")}
    assert len(ran) > 100
    assert ran <= recorded, f"ran without an event: {sorted(ran - recorded)[:5]}"
    daemon.stop()
    assert daemon.verify().returncode == 0


def test_audit_disk_full(postgres, make_daemon, tmp_path):
    """Nothing runs while the log cannot be written; it goes on by itself when there is room, and says what happened."""
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(mount)], check=True)
    try:
        daemon = make_daemon(start=False)
        daemon.audit = mount / "audit"
        daemon.write_config()
        daemon.start()
        filler = mount / "filler"
        with open(filler, "wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * (1 << 20))
                file.flush()

        def attempt(number=[0]):  # noqa: B006
            """One command of 800 KB on a connection of its own; the error it meets, or None. The session that finds the disk full out ends."""
            number[0] += 1
            seen = []
            with daemon.steered(), contextlib.suppress(OSError, pgwire.Closed), pgwire.Connection("127.0.0.1", postgres.port, login=False) as client:
                client.send(pgwire.startup())
                while not seen or seen[-1][0] not in (b"Z", b"E"):
                    seen.append(client.next())
                client.send(pgwire.query("select '" + "full" * 200_000 + f"{number[0]}'"))
                seen.append(client.next())
                while seen[-1][0] != b"Z":
                    seen.append(client.next())
            return next(iter(pgwire.errors(seen)), None)

        wait_until("commands are refused", attempt, seconds=60)
        error = wait_until("the refusal says why", attempt)
        assert error["C"] == "58030" and "audit" in error["M"]
        ran_before = postgres.statements().count("fullfull")
        assert attempt()["C"] == "58030"
        assert postgres.statements().count("fullfull") == ran_before, "a command ran although the log is full"
        filler.unlink()
        wait_until("commands run again", lambda: attempt() is None, seconds=30)
        daemon.wait_event("type=control_failure")
        daemon.wait_event("type=control_recovery")
        daemon.stop()
        assert daemon.verify().returncode == 0
    finally:
        if daemon.process.poll() is None:
            daemon.stop()
        subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.mark.parametrize("seed", range(20))
def test_garbage_from_the_client(sluice, postgres, seed):
    noise = random.Random(seed)
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port, login=seed % 2 == 0) as client:
        with contextlib.suppress(ConnectionError, TimeoutError, pgwire.Closed):
            client.send(noise.randbytes(noise.randrange(1, 5000)))
            client.socket.shutdown(socket.SHUT_WR)
            while True:
                client.next()
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        assert pgwire.rows(client.run("select 1")) == [[b"1"]]


class FakeServer(threading.Thread):
    """Accepts one connection after the other and answers with whatever bytes it is given."""

    def __init__(self, answer):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.port = self.listener.getsockname()[1]
        self.answer = answer
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                peer.recv(1 << 16)
                peer.sendall(self.answer)
                peer.settimeout(5)
                with contextlib.suppress(OSError):
                    while peer.recv(1 << 16):
                        pass
                peer.close()


READY = b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"
LIES = {
    "unknown message": READY + b"\x01\0\0\0\x05x",
    "length of two": READY + b"N\0\0\0\x02",
    "length of 2 GiB": READY + b"T\x7f\xff\xff\xff" + b"x" * 1000,
    "row that ends early": READY + b"D\0\0\0\x0a\0\x02\0\0\0\x09",
    "row without a query": READY + b"D\0\0\0\x06\0\0",
    "not PostgreSQL": b"SSH-2.0-OpenSSH_9.2\r\n",
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


@pytest.mark.parametrize("name", LIES)
def test_server_that_lies(make_daemon, name):
    server = FakeServer(LIES[name])
    daemon = make_daemon(targets=[{"name": "liar", "addresses": [f"127.0.0.1:{server.port}"]}])
    with daemon.steered(), pgwire.Connection("127.0.0.1", server.port, login=False) as client:
        client.send(pgwire.startup())
        client.send(pgwire.query("select 1"))
        with pytest.raises((pgwire.Closed, ConnectionError)):
            while True:
                client.next()
    daemon.wait_event("type=protocol_violation")


def test_disconnects_at_every_point(sluice, postgres):
    before = len(os.listdir(f"/proc/{sluice.process.pid}/fd"))
    script = pgwire.startup() + pgwire.query("select * from cards") + pgwire.parse("select 1") + pgwire.bind() + pgwire.execute() + pgwire.SYNC
    with sluice.steered():
        for length in range(0, len(script), 3):
            client = socket.create_connection(("127.0.0.1", postgres.port))
            client.sendall(script[:length])
            if length % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
    wait_until("every session has ended", lambda: not sluice.sessions())
    wait_until("descriptors are given back", lambda: len(os.listdir(f"/proc/{sluice.process.pid}/fd")) <= before + 4)


def test_slow_reader_does_not_fill_the_daemon(postgres, make_daemon):
    daemon = make_daemon()

    def resident():
        return next(int(line.split()[1]) for line in open(f"/proc/{daemon.process.pid}/status") if line.startswith("VmRSS")) * 1024

    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client, pgwire.Connection("127.0.0.1", postgres.port) as other:
        other.run("select 1")
        before = resident()
        client.send(pgwire.query("select repeat('z', 1000) from generate_series(1, 300000)"))
        time.sleep(2)  # nothing happens that could be waited for: that is what is tested
        assert resident() - before < 64 << 20, "a result nobody reads must not pile up"
        assert pgwire.rows(other.run("select 2")) == [[b"2"]], "others go on"
        received = 0
        while not (piece := client.socket.recv(1 << 20)).endswith(pgwire.message(b"Z", b"I")):
            received += len(piece)
        assert received > 300_000 * 1000


def test_upstream_unreachable_is_a_clear_error(make_daemon):
    port = free_port()
    daemon = make_daemon(targets=[{"name": "nobody", "addresses": [f"127.0.0.1:{port}"]}])
    with daemon.steered(), pgwire.Connection("127.0.0.1", port, login=False) as client:
        client.send(pgwire.startup())
        kind, payload = client.next()
        assert kind == b"E" and pgwire.fields(payload)["S"] == "FATAL" and pgwire.fields(payload)["C"] == "57P03"


@pytest.mark.slow  # without a descriptor to spare the sanitizer's own checks fail, not the daemon
def test_descriptors_run_out(postgres, make_daemon):
    daemon = make_daemon()
    used = len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
    subprocess.run(["prlimit", "--pid", str(daemon.process.pid), f"--nofile={used + 12}:"], check=True)
    held = []
    with daemon.steered():
        for _ in range(30):
            with contextlib.suppress(OSError):
                client = socket.create_connection(("127.0.0.1", postgres.port), timeout=5)
                client.sendall(pgwire.startup())
                held.append(client)
        for client in held:
            client.close()
        subprocess.run(["prlimit", "--pid", str(daemon.process.pid), "--nofile=4096:"], check=True)

        def works():
            with contextlib.suppress(OSError, pgwire.Closed), pgwire.Connection("127.0.0.1", postgres.port) as again:
                return pgwire.rows(again.run("select 1")) == [[b"1"]]

        wait_until("sessions are taken again", works)


def test_killed_session_ends_at_once(postgres, make_daemon):
    daemon = make_daemon()
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        client.run("select 1")
        session, = daemon.sessions()
        assert session["target"] == "cards-db" and session["identity"]["attested"]["pid"] == os.getpid()
        assert daemon.cli("sessions", "kill", session["id"]).returncode == 0
        with pytest.raises((pgwire.Closed, ConnectionError)):
            client.until(b"never")
    daemon.wait_event("type=session_ended", lambda e: e["session"] == session["id"])
    assert daemon.cli("sessions", "kill", "0000000000000000", check=False).returncode == 1


def test_restart_keeps_the_log_and_the_counters(postgres, make_daemon):
    daemon = make_daemon()
    command = [PG_BIN / "psql", "-X", "-h", "127.0.0.1", "-p", postgres.port, "-U", "postgres", "-c", "select 'before'", "postgres"]
    assert daemon.run(command).returncode == 0
    redirected, events = daemon.coverage()["redirected"], len(daemon.events())
    daemon.stop()
    daemon.start()
    assert daemon.coverage()["redirected"] >= redirected
    assert len(daemon.events()) > events
    daemon.stop()
    assert daemon.verify().returncode == 0
