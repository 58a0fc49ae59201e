"""Root is given up: what /proc says about the daemon and its helper, what still works without root, and what happens without the helper."""
import json
import os
import pathlib
import pwd
import signal
import stat
import subprocess

import psycopg
import pytest

from daemon import BINARY
from database import wait_until

USER = "daemon"  # an unprivileged user that every Debian has
NONE = "0000000000000000"
BLOCK = "version: 1\nrules:\n  - {name: no-drop, when: {target: '*', statement: drop}, then: block}\n"
ALLOW = "version: 1\nrules: []\n"


def facts(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def helper_of(daemon):
    children = pathlib.Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    assert len(children) == 1, f"one child is the helper: {children}"
    return int(children[0])


def is_gone(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def is_filtered(daemon):
    return "system calls filtered" in daemon.log.read_text()


@pytest.fixture
def unprivileged(make_daemon):
    """make(policies) → a daemon that has become USER."""
    return lambda policies=None, **options: make_daemon(policies, extra=f"user: {USER}", **options)


def query(daemon, postgres, text="select 1"):
    where = f"host=127.0.0.1 port={postgres.port} user=postgres dbname=postgres"
    with daemon.steered(), psycopg.connect(where, autocommit=True) as connection:
        return connection.execute(text).fetchall()


def test_what_proc_says(unprivileged):
    daemon = unprivileged()
    uid = str(pwd.getpwnam(USER).pw_uid)
    for task in pathlib.Path(f"/proc/{daemon.process.pid}/task").iterdir():  # every thread, not the first alone
        own = facts(task.name)
        assert set(own["Uid"].split()) == {uid}, task.name
        assert (own["CapEff"], own["CapPrm"], own["CapInh"], own["CapAmb"], own["CapBnd"]) == (NONE,) * 5
        assert own["NoNewPrivs"] == "1"
        assert own["Seccomp"] == ("2" if is_filtered(daemon) else "0")
    limits = pathlib.Path(f"/proc/{daemon.process.pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if line.startswith("Max core file size")).split()[4:6] == ["0", "0"]
    # Not dumpable: its /proc entries belong to root, so that not even its own user may look into it.
    assert os.stat(f"/proc/{daemon.process.pid}/mem").st_uid == 0


def test_what_proc_says_about_the_helper(unprivileged):
    daemon = unprivileged()
    own = facts(helper_of(daemon))
    assert own["Name"] == "sluice-helper"
    bits = int(own["CapPrm"], 16)
    assert bits == 1 << 2 | 1 << 12 | 1 << 19 | 1 << 39, "CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_BPF"
    assert own["CapEff"] == own["CapPrm"] == own["CapBnd"]
    assert own["NoNewPrivs"] == "1"
    assert own["Seccomp"] == ("2" if is_filtered(daemon) else "0")
    assert own["Threads"] == "1"
    # It holds nothing that would keep a dead daemon alive: no listener, no map, no log, no lock.
    links = {os.readlink(entry) for entry in pathlib.Path(f"/proc/{helper_of(daemon)}/fd").iterdir()}
    assert not [link for link in links if "bpf" in link or link.startswith(str(daemon.directory / "state"))], links
    assert sum(link.startswith("socket:") for link in links) == 2, f"the channel, and the kernel's socket diagnostics: {links}"


def test_without_the_default_user_root_stays_without_its_capabilities(make_daemon):
    try:
        pwd.getpwnam("sluice")
        pytest.skip("this host has a user sluice")
    except KeyError:
        pass
    daemon = make_daemon()
    own = facts(daemon.process.pid)
    assert (own["CapEff"], own["CapPrm"]) == (NONE, NONE)
    assert "there is no user sluice: the daemon keeps user root, without root's capabilities" in daemon.log.read_text()


def test_a_named_user_must_be_there(make_daemon):
    daemon = make_daemon(start=False, extra="user: sluice-no-such-user")
    run = daemon.cli("run", check=False)
    assert run.returncode == 2
    assert "there is no user sluice-no-such-user" in run.stderr


def test_everything_still_works(unprivileged, postgres):
    daemon = unprivileged(BLOCK)
    assert "411111******1111" in str(query(daemon, postgres, "select '4111111111111111'"))
    with pytest.raises(psycopg.Error, match="no-drop"):
        query(daemon, postgres, "drop table nothing")
    started = daemon.wait_event("type=session_started")["identity"]["attested"]
    assert started["exe"] == os.path.realpath("/proc/self/exe")
    assert started["uid"] == 0 and started["user"] == "root" and started["pid"] == os.getpid()
    assert daemon.status()["state"] == "running"
    assert daemon.verify().returncode == 0


def test_the_filter_leaves_the_logs_writer_its_timer(unprivileged):
    """A call that the filter refuses may be one whose failure nobody sees: the writer's short sleeps would become long ones."""
    daemon = unprivileged()
    tasks = {(task / "comm").read_text().strip(): task.name for task in pathlib.Path(f"/proc/{daemon.process.pid}/task").iterdir()}
    assert pathlib.Path(f"/proc/{tasks['audit-writer']}/timerslack_ns").read_text().strip() == "1000"


def test_who_asked_is_known_without_root(unprivileged, postgres):
    daemon = unprivileged()
    query(daemon, postgres)
    daemon.events()
    assert daemon.wait_event("type=log_read")["identity"]["attested"]["exe"] == str(BINARY.resolve())


def test_policies_that_only_root_may_read_are_reloaded(unprivileged, postgres):
    daemon = unprivileged(ALLOW)
    daemon.write_policy(BLOCK)
    (daemon.policies / "test.yaml").chmod(0o600)
    daemon.policies.chmod(0o700)
    daemon.config.chmod(0o600)
    assert daemon.cli("reload").returncode == 0
    with pytest.raises(psycopg.Error, match="no-drop"):
        query(daemon, postgres, "drop table nothing")


def test_another_policy_directory_is_not_opened_for_it(unprivileged):
    """The helper opens what was configured at the start. A daemon that was taken over must not get /etc/shadow by naming it."""
    daemon = unprivileged(ALLOW)
    secret = daemon.directory / "secret"
    secret.mkdir(mode=0o700)
    (secret / "a.yaml").write_text(ALLOW)
    daemon.policies = secret
    daemon.write_config()
    run = daemon.cli("reload", check=False)
    assert run.returncode != 0
    assert f"{secret}: " in run.stdout + run.stderr and "Permission denied" in run.stdout + run.stderr
    assert daemon.wait_event("type=policy_rejected")


def test_targets_change_by_reload(unprivileged, postgres):
    """A new endpoint map takes CAP_BPF: the helper makes it."""
    daemon = unprivileged()
    daemon.targets[0]["addresses"].append("192.0.2.7:5432")
    daemon.write_config()
    daemon.cli("reload")
    assert query(daemon, postgres) == [(1,)]
    wait_until("the session is gone", lambda: not daemon.sessions())


def test_its_files_belong_to_its_user(unprivileged, postgres):
    daemon = unprivileged()
    query(daemon, postgres)
    uid = pwd.getpwnam(USER).pw_uid
    paths = [daemon.directory / "state", *sorted((daemon.directory / "state").rglob("*"))]
    assert len(paths) > 2
    for path in paths:
        status = path.lstat()
        assert status.st_uid == uid, path
        assert stat.S_IMODE(status.st_mode) & 0o077 == 0, path


def test_a_log_that_root_wrote_is_taken_over(make_daemon, postgres):
    daemon = make_daemon()
    query(daemon, postgres)
    daemon.stop()
    before = len([line for line in daemon.cli("events", "--dir", str(daemon.audit), "--json").stdout.splitlines()])
    daemon.extra = f"user: {USER}"
    daemon.write_config()
    daemon.start()
    query(daemon, postgres)
    assert len(daemon.events()) > before
    assert daemon.stop() == 0
    assert daemon.verify().returncode == 0


def test_tampering_is_seen_without_root(unprivileged):
    daemon = unprivileged()
    os.unlink(f"{daemon.pins}/link_connect4")
    event = daemon.wait_event("type=tamper_warning")
    assert "connect4: the pin of its link is gone" in json.dumps(event)


def test_a_killed_daemon_takes_its_helper_along_and_the_kernel_refuses(unprivileged, postgres):
    daemon = unprivileged()
    helper = helper_of(daemon)
    daemon.kill()
    wait_until("the helper is gone", lambda: is_gone(helper), seconds=5)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        query(daemon, postgres)
    daemon.start()
    assert query(daemon, postgres) == [(1,)]


def ended_without_helper(daemon):
    """Waits for the daemon's own end, and takes note of it so that the fixture does not take it for a failure."""
    assert daemon.process.wait(timeout=40) == 1
    daemon.process = None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTRAP])  # SIGSEGV would be the sanitizers' own to handle
def test_without_its_helper_the_daemon_records_that_and_ends(unprivileged, postgres, number):
    daemon = unprivileged()
    os.kill(helper_of(daemon), number)
    ended_without_helper(daemon)
    failure = json.loads(daemon.cli("events", "--dir", str(daemon.audit), "--filter", "type=control_failure", "--json").stdout.splitlines()[0])
    assert f"the privileged helper is gone: it was ended by signal {int(number)}" in json.dumps(failure)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        query(daemon, postgres)
    assert daemon.verify().returncode == 0


def test_a_helper_that_hangs_is_given_up(unprivileged, postgres):
    daemon = unprivileged()
    helper = helper_of(daemon)
    os.kill(helper, signal.SIGSTOP)
    try:
        with pytest.raises(psycopg.OperationalError):
            query(daemon, postgres)  # nobody can say who connects: refused
        ended_without_helper(daemon)
        events = daemon.cli("events", "--dir", str(daemon.audit), "--json").stdout
        assert "no answer within" in events
    finally:
        os.kill(helper, signal.SIGCONT) if not is_gone(helper) else None


def test_a_second_look_at_the_socket(unprivileged):
    """The control socket and its group are as they were; its owner is the daemon's user."""
    daemon = unprivileged()
    status = (daemon.directory / "control.sock").stat()
    assert stat.S_IMODE(status.st_mode) == 0o660
    assert status.st_uid == pwd.getpwnam(USER).pw_uid
    run = subprocess.run(["setpriv", "--reuid", "nobody", "--clear-groups", BINARY, "status", "--config", daemon.config], capture_output=True, check=False)
    assert run.returncode != 0


def test_the_binary_leaves_nothing_writable_that_calls_go_through():
    def read(*options):
        return subprocess.run(["readelf", "-W", *options, BINARY], capture_output=True, text=True, check=True).stdout

    assert "Type:                              DYN" in read("-h"), "loaded at a random address"
    assert "BIND_NOW" in read("-d"), "calls into libraries are resolved at start"
    headers = {line.split()[0]: line for line in read("-l").splitlines() if line.strip().startswith("GNU_")}
    assert "GNU_RELRO" in headers
    assert "RWE" not in headers["GNU_STACK"], "the stack is not executable"
