"""The installed package under a real systemd: both units with everything that they are closed by, from the installation to the removal,
as docs/install.md tells it."""
import json

import pytest

import systemd_host
from daemon import BINARY, ROOT
from database import PANS, wait_until
from systemd_host import SystemdHost

pytestmark = [
    pytest.mark.slow,  # the units are for the release binary: sanitizers need memory that is written and run
    pytest.mark.skipif(systemd_host.why_not() != "", reason=systemd_host.why_not()),
]

NONE = "0000000000000000"
POLICY = "version: 1\nrules:\n  - {name: no-drop, when: {target: '*', statement: drop}, then: block}\n"
SERVICE, GUARD = "sluice.service", "sluice-guard.service"


def configuration(port, more=""):
    return (f"version: 1\ntargets:\n  - {{name: cards-db, protocol: postgres, addresses: ['127.0.0.1:{port}'], when_down: deny}}\n"
            f"policies: /etc/sluice/policies\n{more}")


@pytest.fixture(scope="module")
def host(postgres, tmp_path_factory):
    """A host on which Sluice was installed, configured, enabled and started as docs/install.md says."""
    host = SystemdHost(tmp_path_factory.mktemp("host"))
    try:
        host.boot()
        host.run("env", "--chdir", ROOT, "scripts/packaging/install", "--binary", BINARY.resolve())
        host.write("/etc/sluice/sluice.yaml", configuration(postgres.port))
        host.write("/etc/sluice/policies/10-example.yaml", POLICY)
        host.run("sluice", "check")
        host.run("systemctl", "enable", "--now", "sluice-guard", "sluice")
        yield host
    finally:
        host.close()


@pytest.fixture(autouse=True)
def enforcing(host):
    """Every test begins with a daemon that enforces, and leaves one."""
    wait_until("the daemon enforces", lambda: host.run("sluice", "status", check=False).returncode == 0, seconds=30)
    yield
    wait_until("the daemon enforces again", lambda: host.run("sluice", "status", check=False).returncode == 0, seconds=30)


def psql(host, postgres, text, unit=None, check=True):
    where = f"host=127.0.0.1 port={postgres.port} user=postgres dbname=postgres"
    return host.as_unit("psql", "-X", "-A", "-t", where, "-c", text, unit=unit, check=check)


def facts(host, pid):
    lines = host.run("cat", f"/proc/{pid}/status").stdout.splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def pins(host):
    """What stands on the BPF file system; the kernel itself may put *.debug there."""
    return [name for name in host.run("ls", "/sys/fs/bpf").stdout.split() if not name.endswith(".debug")]


def test_both_units_stand(host):
    for unit in (SERVICE, GUARD):
        assert host.show(unit, "ActiveState") == "active", host.journal(unit)
        assert host.show(unit, "UnitFileState") == "enabled"
        assert host.show(unit, "Result") == "success"
    assert (host.show(SERVICE, "Type"), host.show(SERVICE, "SubState"), host.show(GUARD, "SubState")) == ("notify", "running", "exited")
    assert host.show(SERVICE, "NRestarts") == "0"
    assert "active (running)" in host.run("systemctl", "status", "--no-pager", SERVICE).stdout
    assert host.run("systemctl", "is-system-running", check=False).stdout.strip() == "running", host.run("systemctl", "--failed", "--no-pager").stdout


def test_cards_are_masked_and_the_unit_is_recorded(host, postgres):
    answer = psql(host, postgres, f"select '{PANS[0]}'", unit="billing-run").stdout
    assert answer.strip() == "411111******1111"
    refused = psql(host, postgres, "drop table never_there", check=False)
    assert refused.returncode != 0 and 'blocked by rule "no-drop"' in refused.stderr
    events = [json.loads(line) for line in host.run("sluice", "events", "--json", "--filter", "type=session_started").stdout.splitlines()]
    assert "billing-run.service" in [event["identity"]["attested"]["unit"] for event in events]
    assert psql(host, postgres, "select 1").stdout.strip() == "1"


def test_root_is_given_up(host):
    pid = host.show(SERVICE, "MainPID")
    uid = host.run("id", "-u", "sluice").stdout.strip()
    own = facts(host, pid)
    assert set(own["Uid"].split()) == {uid}
    assert (own["CapEff"], own["CapPrm"], own["CapBnd"], own["NoNewPrivs"], own["Seccomp"]) == (NONE, NONE, NONE, "1", "2")
    helper = host.run("pgrep", "--parent", pid).stdout.split()
    assert len(helper) == 1
    assert facts(host, helper[0])["Seccomp"] == "2"


def test_the_unit_closes_the_file_system(host):
    """ProtectSystem, ProtectHome and ProtectControlGroups hold in the namespace that the daemon lives in, and what it needs is open."""
    inside = ["nsenter", "--target", host.show(SERVICE, "MainPID"), "--mount", "sh", "-c"]
    for path in ("/etc", "/usr", "/sys/fs/cgroup"):
        assert host.run(*inside, f"touch {path}/sluice-was-here", check=False).returncode != 0, path
    for path in ("/var/lib/sluice", "/run/sluice", "/sys/fs/bpf"):
        assert host.run(*inside, f"mkdir {path}/probe && rmdir {path}/probe", check=False).returncode == 0, path
    assert host.run("stat", "--format=%U %a", "/var/lib/sluice").stdout.split() == ["sluice", "700"]
    assert host.run("stat", "--format=%G %a", "/run/sluice/control.sock").stdout.split() == ["sluice-admin", "660"]


def test_doctor_finds_what_it_needs(host):
    """What is installed, the host and the kernel. Two rows see that this host is a container, and those of the group `steering` follow from
    them: the kernel notes a process by its number outside."""
    found = [json.loads(line) for line in host.run("sluice", "doctor", "--json", check=False).stdout.splitlines()]
    missing = {row["name"] for row in found if row["state"] == "missing" and row["need"] == "required" and row["group"] != "steering"}
    assert missing == {"cgroup v2", "initial PID namespace"}
    beside = {row["name"]: row["state"] for row in found}
    for name in ("configuration", "user of the daemon", "group of the administrators", "boot guard"):
        assert beside[name] == "found", name


def test_reload(host, postgres):
    version = json.loads(host.run("sluice", "status", "--json").stdout)["policy_version"]
    good = host.run("cat", "/etc/sluice/sluice.yaml").stdout
    host.write("/etc/sluice/sluice.yaml", "version: 1\ntargets: [oops]\n")
    refused = host.run("systemctl", "reload", SERVICE, check=False)
    assert refused.returncode != 0
    assert "sluice.yaml:2:" in wait_until("the journal says why", lambda: host.journal(SERVICE) if "sluice.yaml:2:" in host.journal(SERVICE) else "")
    assert host.show(SERVICE, "ActiveState") == "active"
    assert psql(host, postgres, f"select '{PANS[0]}'").stdout.strip() == "411111******1111"
    host.write("/etc/sluice/sluice.yaml", good)
    host.write("/etc/sluice/policies/10-example.yaml", POLICY.replace("statement: drop", "statement: truncate"))
    host.run("systemctl", "reload", SERVICE)
    assert json.loads(host.run("sluice", "status", "--json").stdout)["policy_version"] != version
    assert "blocked by rule" not in psql(host, postgres, "drop table never_there", check=False).stderr
    host.write("/etc/sluice/policies/10-example.yaml", POLICY)
    host.run("systemctl", "kill", "--kill-who=main", "--signal=HUP", SERVICE)  # the same by a signal
    wait_until("the rule is back", lambda: "blocked by rule" in psql(host, postgres, "drop table never_there", check=False).stderr)


def test_killed_it_comes_back(host, postgres):
    pid, restarts = host.show(SERVICE, "MainPID"), int(host.show(SERVICE, "NRestarts"))
    host.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", SERVICE)
    answers = []

    def is_back():
        run = psql(host, postgres, f"select '{PANS[0]}'", check=False)
        answers.append(run.stdout.strip())
        return run.returncode == 0
    wait_until("a query is answered again", is_back, seconds=30)
    assert set(answers) <= {"", "411111******1111"}, "never past the daemon"
    assert host.show(SERVICE, "MainPID") not in (pid, "0")
    assert int(host.show(SERVICE, "NRestarts")) == restarts + 1


@pytest.mark.extended
def test_hung_it_is_ended_by_the_watchdog(host):
    pid = host.show(SERVICE, "MainPID")
    host.run("systemctl", "kill", "--kill-who=main", "--signal=STOP", SERVICE)
    wait_until("another process serves", lambda: host.show(SERVICE, "MainPID") not in (pid, "0") and host.run("sluice", "status", check=False).returncode == 0,
               seconds=60)
    assert "watchdog timeout" in host.journal(SERVICE).lower()


def test_stopped_the_kernel_refuses_and_the_guard_does_too(host, postgres):
    host.run("systemctl", "stop", SERVICE)
    try:
        assert host.show(SERVICE, "Result") == "success", host.journal(SERVICE)
        assert psql(host, postgres, "select 1", check=False).returncode != 0
        assert host.run("sluice", "audit", "verify", "--dir", "/var/lib/sluice/audit").stdout.startswith("intact")
        host.run("sluice", "unload")
        assert pins(host) == []
        assert psql(host, postgres, "select 1").stdout.strip() == "1", "nothing steers any more"
        host.run("systemctl", "restart", GUARD)  # as at boot: nothing is attached, no daemon runs
        assert psql(host, postgres, "select 1", check=False).returncode != 0
    finally:
        host.run("systemctl", "start", SERVICE)
    assert psql(host, postgres, f"select '{PANS[0]}'").stdout.strip() == "411111******1111"


def test_removed_nothing_is_left(host, postgres):
    """Last in this file: `enforcing` finds the daemon running again afterwards."""
    host.run("systemctl", "disable", "--now", "sluice", "sluice-guard")
    try:
        host.run("sluice", "unload")
        assert pins(host) == []
        assert host.run("sluice", "audit", "verify", "--dir", "/var/lib/sluice/audit").stdout.startswith("intact")
    finally:
        host.run("systemctl", "enable", "--now", "sluice-guard", "sluice")
