"""The short-circuit of local hops, with `accelerate` off, auto and on: the same bytes, the same order, the same endings.

Sockets join where they are made below the steered cgroup, so daemon, server and clients all run there, each in a group of its own,
as they do on a host where steering is attached to the root.
"""
import contextlib
import hashlib
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pgwire
import pytest
from conftest import target_of
from daemon import Daemon
from database import MASKED, PG_BIN, Database, free_port, wait_until

BIG = "select i, repeat(md5(i::text), 20) from generate_series(1, 30000) i"  # about 20 MB on the wire
ANSWER_SECONDS = 15
IPPROTO_MPTCP = 262


class Bench:
    """One server and one daemon below one steered cgroup."""

    def __init__(self, mode, directory):
        self.mode = mode
        self.daemon = Daemon(directory / "sluice", [], covered=True)
        for parent in [directory, *directory.parents][:4]:
            parent.chmod(parent.stat().st_mode | 0o055)
        (directory / "postgres").mkdir()
        self.postgres = Database(directory / "postgres", cgroup=self.daemon.subgroup("server"))
        self.daemon.targets = [target_of(self.postgres, accelerate=mode)]
        self.daemon.write_config()

    def __enter__(self):
        self.postgres.start()
        self.daemon.start()
        return self

    def __exit__(self, *_):
        self.postgres.stop()
        self.daemon.close()

    @contextlib.contextmanager
    def client(self, **options):
        with self.daemon.steered():
            connection = pgwire.Connection("127.0.0.1", self.postgres.port, **options)
        with connection:
            yield connection

    def psql(self, *arguments, **options):
        command = [PG_BIN / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", self.postgres.port, "-U", "postgres"]
        return self.daemon.run([*command, *arguments], **options)

    def direct(self):
        return pgwire.Connection("127.0.0.1", self.postgres.port)

    def taken(self):
        return self.daemon.status()["targets"][0]["accelerate"]["taken"]

    def assert_short_circuited(self):
        """With `on`, sessions are short-circuited; otherwise a test here would test nothing."""
        if self.mode == "on":
            wait_until("a session is short-circuited", lambda: any(s["accelerated"] for s in self.daemon.sessions()))


@pytest.fixture(scope="module", params=["off", "auto", "on"])
def bench(request, tmp_path_factory):
    with Bench(request.param, tmp_path_factory.mktemp(f"accelerate-{request.param}")) as running:
        yield running


def digest(messages):
    found = hashlib.sha256()
    for kind, payload in messages:
        found.update(kind + struct.pack("!I", len(payload)) + payload)
    return found.hexdigest()


def test_status_says_what_was_taken_and_why(bench):
    accelerate = bench.daemon.status()["targets"][0]["accelerate"]
    acceleration = bench.daemon.status()["acceleration"]
    assert accelerate["configured"] == bench.mode
    if bench.mode == "off":
        assert accelerate == {"configured": "off", "taken": "off", "why": None} and acceleration["checks"] == []
        return
    events = bench.daemon.events("type=acceleration")
    assert len(events) == 1
    assert events[0]["detail"] == f"accelerate: {bench.mode} is {accelerate['taken']}: {accelerate['why']}"
    assert events[0]["detail"] in bench.daemon.log.read_text()
    failed = {check["name"]: check for check in acceleration["checks"] if not check["passed"]}
    assert all(check["meaning"] for check in failed.values())
    assert not [check for check in failed.values() if check["weight"] == "fatal"], failed
    if bench.mode == "on":
        assert accelerate["taken"] == "both ways"
    elif [check for check in failed.values() if check["weight"] == "foreign"] or acceleration["into_daemon_percent"] > 90:
        assert accelerate["taken"] == "off"


def test_sessions_say_whether_they_are_short_circuited(bench):
    with bench.client() as client:
        client.run("select 1")
        session = bench.daemon.sessions()[0]
        assert session["accelerated"] == (bench.taken() != "off")
        shown = bench.daemon.cli("sessions", "show", session["id"]).stdout
        assert ("accelerated" in shown) == session["accelerated"]


def test_a_big_result_is_the_same_as_directly(bench):
    with bench.direct() as direct:
        expected = digest(direct.run(BIG))
    with bench.client() as client:
        assert digest(client.run(BIG)) == expected
        bench.assert_short_circuited()
        assert digest(client.run("select 1")) == digest(client.run("select 1"))
        assert digest(client.run(BIG)) == expected


def test_a_slow_reader_gets_everything(bench):
    with bench.direct() as direct:
        expected = digest(direct.run(BIG))
    with bench.client() as client:
        # Small, but room for a segment of the loopback device: below that TCP moves by its persist timer, for minutes.
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131072)
        client.send(pgwire.query(BIG))
        time.sleep(1)  # the whole way fills up meanwhile
        assert digest(client.until_ready()) == expected


def test_an_edge_triggered_reader_that_stops_at_short_reads_never_waits_in_vain(bench):
    """As tokio does: a read that gives less than asked for means that nothing more is there."""
    with bench.client() as client, contextlib.closing(select.epoll()) as epoll:
        client.run("select 1")
        client.socket.setblocking(False)
        epoll.register(client.socket, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        client.send(pgwire.query(BIG))
        time.sleep(0.5)  # the whole way fills up meanwhile
        received, tail = 0, b""
        deadline = time.monotonic() + 60
        while not (tail.endswith(b"Z\0\0\0\x05I") and received > 1_000_000):
            assert epoll.poll(ANSWER_SECONDS), f"no event after {received} bytes"
            assert time.monotonic() < deadline
            while True:
                try:
                    piece = client.socket.recv(8192)
                except BlockingIOError:
                    break
                assert piece
                received, tail = received + len(piece), (tail + piece)[-6:]
                if len(piece) < 8192:
                    break


def test_copy_out_and_in(bench, tmp_path):
    out = tmp_path / "out"
    bench.postgres.psql("drop table if exists copied; create table copied (i int, t text)")
    run = bench.psql("-c", rf"\copy (select i, repeat(md5(i::text), 9) from generate_series(1, 60000) i) to '{out}'")
    assert run.returncode == 0, run.stderr
    data = out.read_bytes()
    assert data == b"".join(b"%d\t%s\n" % (i, hashlib.md5(str(i).encode()).hexdigest().encode() * 9) for i in range(1, 60001))
    run = bench.psql("-c", rf"\copy copied from '{out}'")
    assert run.returncode == 0, run.stderr
    assert bench.postgres.psql("select count(*), count(*) filter (where t = repeat(md5(i::text), 9)) from copied") == "60000|60000"


def test_large_messages_from_the_client(bench):
    with bench.client() as client:
        for size in (100, 5_000_000, 7, 3_000_000, 1):
            text = ("0123456789abcdef" * (size // 16 + 1))[:size]
            answer = client.pipeline(pgwire.parse("select length($1::text), md5($1::text)", types=(25,)), pgwire.bind([text]), pgwire.execute())
            assert pgwire.rows(answer) == [[str(size).encode(), hashlib.md5(text.encode()).hexdigest().encode()]]


def test_pipelines(bench):
    with bench.client() as client:
        client.pipeline(pgwire.parse("select $1::int * 2", "double", types=(23,)))
        for _ in range(10):
            messages = [m for i in range(200) for m in (pgwire.bind([str(i)], "double"), pgwire.execute())]
            assert pgwire.rows(client.pipeline(*messages)) == [[str(2 * i).encode()] for i in range(200)]
        bench.assert_short_circuited()


def test_cards_are_masked(bench):
    with bench.client() as client:
        assert pgwire.rows(client.run("select pan from cards where id = 1")) == [[MASKED.encode()]]


def test_a_multipath_client_goes_by_tcp_and_gets_the_same(bench):
    with bench.direct() as direct:
        expected = digest(direct.run(BIG))
    with bench.daemon.steered():
        try:
            multipath = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
        except OSError as error:
            pytest.skip(f"this kernel has no MPTCP: {error}")
        multipath.connect(("127.0.0.1", bench.postgres.port))
    with pgwire.Adopted(multipath) as client:
        assert digest(client.run(BIG)) == expected
        text = "0123456789abcdef" * 200_000
        answer = client.pipeline(pgwire.parse("select md5($1::text)", types=(25,)), pgwire.bind([text]), pgwire.execute())
        assert pgwire.rows(answer) == [[hashlib.md5(text.encode()).hexdigest().encode()]]


@pytest.mark.parametrize("mode", ["off", "auto", "on"])
def test_a_server_that_listens_for_mptcp(tmp_path, mode):
    """Sluice connects by TCP, so what the server accepts falls back to it."""
    port = free_port()
    daemon = Daemon(tmp_path / "sluice", [{"name": "multipath", "addresses": [f"127.0.0.1:{port}"], "accelerate": mode}], covered=True)
    script = pathlib.Path(__file__).with_name("stub_server.py")
    enter = (daemon.subgroup("server") / "cgroup.procs").write_text
    with subprocess.Popen([sys.executable, script, str(port), str(IPPROTO_MPTCP)], stdout=subprocess.PIPE,
                          preexec_fn=lambda: enter(str(os.getpid()))) as server:
        try:
            if server.stdout.readline() != b"ready\n":
                pytest.skip("this kernel has no MPTCP")
            daemon.start()
            with daemon.steered():
                clients = [pgwire.Connection("127.0.0.1", port) for _ in range(3)]
            for client in clients:
                with client:
                    for _ in range(200):
                        assert pgwire.rows(client.run("select 1")) == [[b"1"]]
        finally:
            server.kill()
            server.wait()
            daemon.close()


def test_half_close_gives_the_same_as_directly(bench):
    def ask_and_close(connection):
        connection.send(pgwire.query("select 'last', count(*) from generate_series(1, 100000)"))
        connection.socket.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.socket.recv(65536):
            received += piece
        return received

    with bench.direct() as direct:
        expected = ask_and_close(direct)
    with bench.client() as client:
        assert ask_and_close(client) == expected


def test_cancel(bench):
    with bench.client() as client:
        key = next(payload for kind, payload in client.greeting if kind == b"K")
        pid, secret = struct.unpack("!I", key[:4])[0], key[4:]
        client.send(pgwire.query("select pg_sleep(60)"))
        wait_until("the statement runs", lambda: bench.postgres.psql("select count(*) from pg_stat_activity where query = 'select pg_sleep(60)'") != "0")
        with bench.daemon.steered(), socket.create_connection(("127.0.0.1", bench.postgres.port)) as canceller:
            canceller.sendall(pgwire.cancel_request(pid, secret))
            assert canceller.recv(1) == b""
        answer = client.until_ready()
        assert pgwire.errors(answer)[0]["C"] == "57014"
        assert pgwire.rows(client.run("select 2")) == [[b"2"]]


def test_a_backend_that_is_ended_tells_the_client(bench):
    with bench.client() as client:
        pid = pgwire.rows(client.run("select pg_backend_pid()"))[0][0].decode()
        bench.postgres.psql(f"select pg_terminate_backend({pid})")
        kinds = []
        with contextlib.suppress(pgwire.Closed, ConnectionResetError):
            while True:
                kinds.append(client.next())
        assert pgwire.errors(kinds)[0]["C"] == "57P01"


def test_a_client_that_is_killed_leaves_no_session(bench):
    with bench.daemon.steered():
        client = subprocess.Popen([PG_BIN / "psql", "-X", "-q", "-o", "/dev/null", "-h", "127.0.0.1", "-p", str(bench.postgres.port), "-U", "postgres",
                                   "-c", "select repeat('x', 1000) from generate_series(1, 100000000)"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until("its result flows", lambda: any(s["bytes_to_client"] > 1_000_000 for s in bench.daemon.sessions()))
    client.send_signal(signal.SIGKILL)
    client.wait()
    wait_until("no session is left", lambda: bench.daemon.sessions() == [])
    wait_until("no backend is left", lambda: bench.postgres.psql("select count(*) from pg_stat_activity where query like '%100000000%'"
                                                                 " and pid <> pg_backend_pid()") == "0")


def test_pgbench(bench):
    if bench.postgres.psql("select to_regclass('pgbench_accounts')") == "":
        subprocess.run([PG_BIN / "pgbench", "-i", "-q", "-h", bench.postgres.sockets, "-p", str(bench.postgres.port), "-U", "postgres", "postgres"],
                       check=True, capture_output=True)
    run = bench.daemon.run([PG_BIN / "pgbench", "-n", "-S", "-M", "prepared", "-c", "8", "-j", "2", "-T", "3", "-h", "127.0.0.1", "-p",
                            bench.postgres.port, "-U", "postgres", "postgres"])
    assert run.returncode == 0 and "number of failed transactions: 0 " in run.stdout, run.stdout + run.stderr


def test_many_sessions_come_and_go(bench):
    failures = []

    def work():
        try:
            for number in range(25):
                with pgwire.Connection("127.0.0.1", bench.postgres.port) as client:
                    assert pgwire.rows(client.run(f"select {number}, repeat('y', {number * 4000})")) == [[str(number).encode(), b"y" * (number * 4000)]]
        except (OSError, pgwire.Closed, AssertionError) as error:
            failures.append(error)

    with bench.daemon.steered():
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures, failures[0]
    wait_until("no session is left", lambda: bench.daemon.sessions() == [])


# Last: it takes the daemon down.
def test_kill_9_ends_sessions_and_stays_closed(bench):
    """No client hangs, nothing slips by, and the next daemon takes over."""
    with bench.client() as idle, bench.client() as busy:
        idle.run("select 1")
        busy.run("select 1")
        bench.assert_short_circuited()
        busy.send(pgwire.query("select pg_sleep(60)"))
        bench.daemon.kill()
        for client in (idle, busy):
            client.socket.settimeout(ANSWER_SECONDS)
            with contextlib.suppress(ConnectionResetError):
                assert client.socket.recv(1 << 16) == b""
        with pytest.raises(OSError):  # ECONNRESET or EPIPE, after as many tries as the kernel needs to tell
            for _ in range(100):
                idle.socket.sendall(pgwire.query("select 2"))
                time.sleep(0.01)  # the kernel tells with a reset, whenever that comes
    with bench.daemon.steered(), contextlib.closing(socket.socket()) as probe:
        assert probe.connect_ex(("127.0.0.1", bench.postgres.port)) != 0
    bench.daemon.start()
    with bench.client() as client:
        assert pgwire.rows(client.run("select 3")) == [[b"3"]]
        bench.assert_short_circuited()
    assert os.path.isdir(bench.daemon.pins)


def test_outside_of_the_steered_cgroup_nothing_is_taken(postgres, make_daemon):
    """Sockets of a daemon that is not below the steered cgroup do not join: said, and everything goes by TCP."""
    daemon = make_daemon(targets=[target_of(postgres, accelerate="on")])
    accelerate = daemon.status()["targets"][0]["accelerate"]
    assert accelerate["taken"] == "off" and accelerate["why"] == "the self-test failed: joining"
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        assert pgwire.rows(client.run("select 1")) == [[b"1"]]
        assert not daemon.sessions()[0]["accelerated"]


def test_a_reload_to_on_says_that_it_takes_a_restart(postgres, make_daemon):
    daemon = make_daemon(targets=[target_of(postgres, accelerate="off")])
    daemon.targets[0]["accelerate"] = "on"
    daemon.write_config()
    assert "takes a restart" in daemon.cli("reload").stderr
    assert daemon.status()["targets"][0]["accelerate"]["taken"] == "off"
