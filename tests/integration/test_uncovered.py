"""Connections that go past Sluice because they are older than it: found, counted, named with their process, and ended on request."""
import json
import os
import socket
import subprocess
import sys

import pytest

import pgwire
from daemon import BINARY
from database import MASKED, PAN, wait_until


@pytest.fixture
def older(make_daemon, postgres):
    """A daemon that starts while a client is connected directly; the client."""
    daemon = make_daemon(start=False)
    with daemon.steered():
        client = pgwire.Connection("127.0.0.1", postgres.port)
    daemon.start()
    yield daemon, client
    client.socket.close()


def connections(daemon):
    return [json.loads(line) for line in daemon.cli("connections", "list", "--json").stdout.splitlines()]


def test_an_older_connection_is_reported_with_its_process(older, postgres):
    daemon, client = older
    (one,) = connections(daemon)
    assert one["target"] == "cards-db" and one["pid"] == os.getpid() and one["uid"] == 0
    assert one["exe"] == os.path.realpath(sys.executable) and one["can_be_ended"]
    assert one["destination"] == f"127.0.0.1:{postgres.port}"
    assert one["origin"] == "%s:%d" % client.socket.getsockname()
    (target,) = daemon.status()["targets"]
    assert target["uncovered_open"] == 1
    assert "OPEN PAST" in daemon.cli("status").stdout
    assert str(os.getpid()) in daemon.cli("connections").stdout
    event = daemon.wait_event("type=uncovered_connection")
    assert event["target"] == "target:cards-db" and event["outcome"] == "failure" and event["counters"]["open"] == 1
    assert "since before" in event["detail"] and str(os.getpid()) in event["detail"]


def test_what_goes_through_sluice_is_not_counted(older, postgres):
    daemon, client = older
    with daemon.steered():
        steered = [pgwire.Connection(host, postgres.port) for host in ("127.0.0.1", "::1", "127.0.0.1")]
    assert steered[0].run("select 1") is not None
    assert len(daemon.sessions()) == 3
    for _ in range(20):  # sessions that come and go, so that their sockets are met in every state
        with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as short:
            short.run("select 1")
        assert len(connections(daemon)) == 1
    for one in steered:
        one.socket.close()
    client.socket.close()
    wait_until("it is gone", lambda: not connections(daemon))
    assert "every open connection" in daemon.cli("connections").stdout
    assert daemon.status()["targets"][0]["uncovered_open"] == 0


@pytest.mark.parametrize("how", ["id", "target", "all"])
def test_ended_on_request_it_comes_back_through_sluice(older, postgres, how):
    daemon, client = older
    client.run("select 1")
    (one,) = connections(daemon)
    arguments = {"id": [one["id"]], "target": ["--target", "cards-db"], "all": ["--all"]}[how]
    run = daemon.cli("connections", "end", *arguments)
    assert "ended 1 connections" in run.stdout
    with pytest.raises((ConnectionError, OSError)):
        client.run("select 1")
    assert connections(daemon) == []
    event = daemon.wait_event("type=uncovered_connection and outcome=refused")
    assert "ended on request" in event["detail"] and event["identity"]["attested"]["exe"] == str(BINARY)
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as again:
        assert MASKED in str(again.run("select pan from cards where id = 1"))
    assert daemon.cli("connections", "end", *arguments, check=False).returncode == 1, "nothing is left to end"


def test_nothing_is_ended_by_mistake(older):
    daemon, client = older
    assert daemon.cli("connections", "end", check=False).returncode == 2
    for wrong in (["1"], ["--target", "other-db"], ["--target", "*"]):
        assert daemon.cli("connections", "end", *wrong, check=False).returncode == 1
    with daemon.steered(), pytest.raises(AssertionError):
        daemon.cli("connections", "end", "--al")
    client.run("select 1")
    assert len(connections(daemon)) == 1


def test_ipv6_and_mapped_ones_too(make_daemon, postgres):
    daemon = make_daemon(start=False)
    with daemon.steered():
        six = socket.create_connection(("::1", postgres.port))
        mapped = socket.socket(socket.AF_INET6)
        mapped.connect(("::ffff:127.0.0.1", postgres.port))
    daemon.start()
    found = {one["destination"] for one in connections(daemon)}
    assert found == {f"[::1]:{postgres.port}", f"127.0.0.1:{postgres.port}"}
    daemon.cli("connections", "end", "--all")
    for client in (six, mapped):
        client.settimeout(10)
        with pytest.raises(ConnectionError):
            client.recv(1)
        client.close()


def test_other_namespaces_are_listed_and_left_alone(make_daemon, postgres):
    daemon = make_daemon(start=False)
    script = f"""
import socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
server = socket.create_server(("127.0.0.1", {postgres.port}))
client = socket.create_connection(("127.0.0.1", {postgres.port}))
print("connected", flush=True)
sys.stdin.read()
"""
    with daemon.steered():
        other = subprocess.Popen(["unshare", "--net", "/usr/bin/python3", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "connected\n"
        daemon.start()
        (one,) = connections(daemon)
        assert not one["can_be_ended"] and one["pid"] == other.pid and one["target"] == "cards-db"
        run = daemon.cli("connections", "end", "--all", check=False)
        assert run.returncode == 1 and "another network namespace" in run.stderr
        assert daemon.status()["targets"][0]["uncovered_open"] == 1
    finally:
        other.communicate()


def test_connections_outside_the_steered_cgroup_are_not_ours_to_report(make_daemon, postgres):
    daemon = make_daemon()
    with pgwire.Connection("127.0.0.1", postgres.port) as client:
        client.run("select 1")
        assert connections(daemon) == []
        assert PAN in str(client.run("select pan from cards where id = 1"))
