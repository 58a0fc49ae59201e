"""Whichever way a process connects to a protected address, it is covered or refused; and it sees the address that it asked for."""
import contextlib
import errno
import json
import os
import socket
import struct
import subprocess
import threading

import io_uring
import pgwire
import pytest
from conftest import target_of
from database import MASKED, PAN, wait_until

IPV6_V6ONLY = 26
SO_BINDTODEVICE = 25
TCP_FASTOPEN_CONNECT = 30
IPPROTO_MPTCP = 262
MSG_FASTOPEN = 0x20000000
AF_SMC = 43


def plain(port):
    return socket.create_connection(("127.0.0.1", port))


def ipv6(port):
    return socket.create_connection(("::1", port))


def v6only(port):
    client = socket.socket(socket.AF_INET6)
    client.setsockopt(socket.IPPROTO_IPV6, IPV6_V6ONLY, 1)
    client.connect(("::1", port))
    return client


def v4_mapped(port):
    client = socket.socket(socket.AF_INET6)
    client.connect(("::ffff:127.0.0.1", port))
    return client


def any_v4(port):
    return socket.create_connection(("0.0.0.0", port))


def any_v6(port):
    client = socket.socket(socket.AF_INET6)
    client.connect(("::", port))
    return client


def bound_v4(port):
    return socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.5", 0))


def bound_v6(port):
    return socket.create_connection(("::1", port), source_address=("::1", 0))


def to_device(port):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"lo\0")
    client.connect(("127.0.0.1", port))
    return client


def non_blocking(port):
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(("127.0.0.1", port))
    client.settimeout(10)
    import select
    select.select([], [client], [], 10)
    return client


def fast_open(port):
    client = socket.socket()
    client.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    client.connect(("127.0.0.1", port))
    return client


def fast_open_by_sending(port):
    """No connect() at all: the first bytes go with the request for a connection."""
    client = socket.socket()
    client.sendto(b"", MSG_FASTOPEN, ("127.0.0.1", port))
    return client


def multipath(port):
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    client.connect(("127.0.0.1", port))
    return client


def multipath_v6(port):
    client = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, IPPROTO_MPTCP)
    client.connect(("::1", port))
    return client


def ring(port):
    client = socket.socket()
    io_uring.connect(client, ("127.0.0.1", port))
    return client


def shared_memory(port):
    """SMC: a family of its own that makes a TCP connection beneath."""
    client = socket.socket(AF_SMC, socket.SOCK_STREAM, 0)
    libc_connect(client, port)
    return client


def another_one_before(port):
    """A socket that was connected elsewhere, and is connected again."""
    client = socket.socket()
    with socket.create_server(("127.0.0.1", 0)) as other:
        client.connect(other.getsockname())
        libc_disconnect(client)
        client.connect(("127.0.0.1", port))
    return client


def by_another_thread(port):
    made = []
    thread = threading.Thread(target=lambda: made.append(plain(port)))
    thread.start()
    thread.join()
    return made[0]


def libc_call(client, address):
    if io_uring.libc.connect(client.fileno(), address, len(address)) != 0:
        error = io_uring.ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def libc_connect(client, port):
    libc_call(client, struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, socket.inet_aton("127.0.0.1")))


def libc_disconnect(client):
    libc_call(client, struct.pack("=H14x", socket.AF_UNSPEC))


WAYS = [plain, ipv6, v6only, v4_mapped, any_v4, any_v6, bound_v4, bound_v6, to_device, non_blocking, fast_open, fast_open_by_sending, multipath,
        multipath_v6, ring, shared_memory, another_one_before, by_another_thread]
MAY_BE_REFUSED = [bound_v6, any_v6]  # nothing leads from there to a listener
NOT_EVERYWHERE = {multipath: errno.EPROTONOSUPPORT, multipath_v6: errno.EPROTONOSUPPORT, ring: errno.ENOSYS, shared_memory: errno.EAFNOSUPPORT}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_covered_or_refused(sluice, postgres, way):
    before = sluice.coverage()
    with sluice.steered():
        try:
            client = way(postgres.port)
        except OSError as error:
            if error.errno in (NOT_EVERYWHERE.get(way), errno.ENOPROTOOPT):
                pytest.skip(f"this kernel has no {way.__name__}: {error}")
            assert way in MAY_BE_REFUSED, f"{way.__name__} must be covered: {error}"
            client = None
    if client is not None:
        with pgwire.Adopted(client) as connection:
            (value,), = pgwire.rows(connection.run("select pan from cards where id = 1"))
            assert value == MASKED.encode() and PAN.encode() not in connection.raw
            assert sluice.coverage()["redirected"] > before["redirected"]
    after = sluice.coverage()
    assert after["connects"] == sum(after[k] for k in ("redirected", "refused", "exempt", "uncovered"))


def test_names_show_the_original(sluice, postgres):
    for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
        with sluice.steered(), socket.socket(family) as client:
            client.connect((host, postgres.port))
            assert client.getpeername()[:2] == (host, postgres.port)
            assert client.getsockname()[0] == host


@pytest.mark.parametrize("kind, protocol", [(socket.SOCK_DGRAM, 0), (socket.SOCK_STREAM, 132), (socket.SOCK_SEQPACKET, 132)], ids=["udp", "sctp", "sctp packets"])
def test_what_is_not_tcp_is_no_way_to_a_server(sluice, postgres, kind, protocol):
    """PostgreSQL listens for TCP (and on Unix-domain sockets) alone: the same address and port of another protocol is somebody else's."""
    before = sluice.coverage()
    with sluice.steered():
        try:
            client = socket.socket(socket.AF_INET, kind, protocol)
        except OSError as error:
            pytest.skip(f"this kernel has no such socket: {error}")
        with client, contextlib.suppress(OSError):
            client.settimeout(2)
            client.connect(("127.0.0.1", postgres.port))
            client.send(pgwire.startup())
            assert client.recv(1) == b"", "something answers there"
        if kind == socket.SOCK_DGRAM:
            with socket.socket(socket.AF_INET, kind) as server, socket.socket(socket.AF_INET, kind) as sender:
                server.bind(("127.0.0.1", postgres.port))
                server.settimeout(5)
                sender.connect(server.getsockname())
                sender.send(b"a datagram")
                assert server.recvfrom(100) == (b"a datagram", sender.getsockname())
                assert sender.getpeername() == server.getsockname()
    assert sluice.coverage() == before


def test_other_addresses_are_left_alone(sluice):
    before = sluice.coverage()["connects"]
    with socket.create_server(("127.0.0.1", 0)) as server, sluice.steered():
        with socket.create_connection(server.getsockname()) as client:
            peer, address = server.accept()
            assert address == client.getsockname()
            peer.close()
    assert sluice.coverage()["connects"] == before


@pytest.mark.parametrize("when_down, reaches", [("deny", False), ("allow", True)])
def test_another_network_namespace(postgres, make_daemon, when_down, reaches):
    """No listener there yet: what when_down says. `allow` then goes to what that namespace has at the address: a server of the test's own."""
    daemon = make_daemon(targets=[target_of(postgres, when_down=when_down)])
    script = f"""
import socket, subprocess
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
server = socket.create_server(("127.0.0.1", {postgres.port}))
client = socket.socket()
client.settimeout(5)
print("connected" if client.connect_ex(("127.0.0.1", {postgres.port})) == 0 else "refused")
"""
    run = daemon.run(["unshare", "--net", "/usr/bin/python3", "-c", script])
    assert run.stdout.strip() == ("connected" if reaches else "refused"), run.stderr
    assert daemon.coverage()["uncovered" if reaches else "refused"] == 1


def test_uninvited_connection_is_reset(sluice, postgres):
    """Whoever finds the daemon's own listener and connects to it has no note, and is reset."""
    listening = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout
    ports = {line.split()[3].rsplit(":", 1)[1] for line in listening.splitlines() if f"pid={sluice.process.pid}," in line}
    assert ports, listening
    reset = 0
    for port in ports:
        try:
            with socket.create_connection(("127.64.0.1", int(port)), timeout=5) as client:
                client.sendall(pgwire.startup())
                assert client.recv(1) == b"", "an uninvited connection got an answer"
        except ConnectionRefusedError:
            continue  # the IPv6 listener's port
        except (ConnectionResetError, BrokenPipeError):
            reset += 1
    assert reset >= 1
    sluice.wait_event("type=connect_refused", lambda event: "without being steered" in (event["detail"] or ""))
    assert sluice.status()["connections_without_note"] >= reset


def test_a_flood_of_uninvited_connections_fills_no_log(make_daemon):
    daemon = make_daemon()
    listening = subprocess.run(["ss", "-ltnpH4"], capture_output=True, text=True, check=True).stdout
    port = next(int(line.split()[3].rsplit(":", 1)[1]) for line in listening.splitlines() if f"pid={daemon.process.pid}," in line)
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection(("127.64.0.1", port), timeout=5) as client:
            client.recv(1)
    strays = "type=connect_refused and detail~\"without being steered\""

    def counted():
        return sum(event["counters"]["connections_without_note"] for event in daemon.events(strays))
    wait_until("every one is counted", lambda: counted() == daemon.status()["connections_without_note"] >= 500)
    assert len(daemon.events(strays)) < 50, "events are bounded by time, not by connections"


def test_counters_add_up_under_load(postgres, make_daemon):
    daemon = make_daemon()
    connects = []

    def many():
        done = 0
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", postgres.port), timeout=10):
                done += 1
        connects.append(done)

    with daemon.steered():
        threads = [threading.Thread(target=many) for _ in range(4)]
        for thread in threads:
            thread.start()
        daemon.kill()
        daemon.start()
        for thread in threads:
            thread.join()
    coverage = daemon.coverage()
    assert coverage["connects"] == 400 == sum(coverage[k] for k in ("redirected", "refused", "exempt", "uncovered"))
    assert coverage["uncovered"] == 0


def test_identity_is_the_process_that_connected(sluice, postgres):
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port, application_name="liar") as client:
        client.run("select 'who am I'")
    event = sluice.wait_event("type=command_received", lambda e: "who am I" in (e["command"]["text"] or ""))
    attested, claimed = event["identity"]["attested"], event["identity"]["claimed"]
    assert attested["pid"] == os.getpid() and attested["uid"] == os.getuid() and attested["exe"] == os.readlink("/proc/self/exe")
    assert claimed["user"] == "postgres" and claimed["application"] == "liar" and event["identity"]["verified"] is None


def attached(cgroup):
    """What is attached to a cgroup, as bpftool lists it; it prints an empty line for nothing."""
    return json.loads(subprocess.run(["bpftool", "-j", "cgroup", "show", str(cgroup)], capture_output=True, text=True, check=True).stdout.strip() or "[]")


def test_unload_removes_everything(make_daemon):
    daemon = make_daemon()
    daemon.stop()
    assert attached(daemon.cgroup), "pins keep the programs attached after a stop"
    assert "uncovered" in daemon.cli("unload").stdout.lower()
    assert attached(daemon.cgroup) == [] and not os.path.exists(daemon.pins)
