"""The systemd units: how far they are closed, and that the daemon lives with what they leave it."""
import pathlib
import re
import shutil
import subprocess

import pytest

from daemon import BINARY, ROOT
from test_privilege import BLOCK, USER, query

UNITS = ROOT / "scripts/packaging"
# Scores of `systemd-analyze security --offline=true`, as docs/operate.md gives them: 0 is closed, 10 is open. Lower them when a unit gets better.
EXPOSURE_MAX = {"sluice.service": 3.1, "sluice-guard.service": 2.9}

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def settings(unit, key):
    return [line.partition("=")[2] for line in (UNITS / unit).read_text().splitlines() if line.startswith(key + "=")]


@needs_analyze
@pytest.mark.parametrize("unit", EXPOSURE_MAX)
def test_exposure_does_not_grow(unit):
    run = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", UNITS / unit], capture_output=True, text=True, check=False)
    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", run.stdout)
    assert score, run.stdout + run.stderr
    assert float(score.group(1)) <= EXPOSURE_MAX[unit], run.stdout
    assert f"| `{unit}` | {EXPOSURE_MAX[unit]} |" in (ROOT / "docs/operate.md").read_text(), "docs/operate.md gives another score"


@needs_analyze
@pytest.mark.parametrize("unit", EXPOSURE_MAX)
def test_units_are_valid(unit, tmp_path):
    copy = tmp_path / unit
    copy.write_text((UNITS / unit).read_text().replace("/usr/sbin/sluice", str(BINARY.resolve())))
    run = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, check=False)
    complaints = [line for line in run.stderr.splitlines() if unit in line]
    assert not complaints, run.stderr


def calls_of(name):
    """The system calls of a systemd group, groups inside it expanded."""
    run = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name], capture_output=True, text=True, check=True)
    words = [line.strip() for line in run.stdout.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return {call for word in words for call in (calls_of(word) if word.startswith("@") else [word])}


@needs_analyze
def test_the_daemons_own_calls_are_among_the_units():
    allowed = set()
    for line in settings("sluice.service", "SystemCallFilter"):
        words = {call for word in line.lstrip("~").split() for call in (calls_of(word) if word.startswith("@") else [word])}
        allowed = allowed - words if line.startswith("~") else allowed | words
    source = (ROOT / "daemon/privilege/syscall_filter.cc").read_text()
    own = set()
    for table in ("kBoth", "kDaemonOnly", "kHelperOnly"):
        body = re.search(rf"constexpr std::string_view {table}\[\] = \{{(.*?)\}};", source, re.S).group(1)
        own |= set(re.findall(r'"(\w+)"', body))
    own |= set(re.findall(r'filter\.allow(?:_where)?\("(\w+)"', source))
    assert len(own) > 100
    assert not own - allowed, "the unit would refuse what the daemon's own filter allows"
    # And what the start alone needs: it becomes somebody else, and loads programs.
    assert {"setresuid", "setresgid", "setgroups", "capset", "seccomp", "prctl", "prlimit64", "bpf", "fchownat", "clone", "fork"} - allowed <= {"fork"}


def test_it_runs_with_the_capabilities_of_its_unit(make_daemon, postgres, monkeypatch):
    """Start, restart over what is pinned, reload and stop, with the unit's bounding set: nothing else is permitted to root either."""
    (line,) = settings("sluice.service", "CapabilityBoundingSet")
    kept = ",".join("+" + name.removeprefix("CAP_").lower() for name in line.split())
    start = subprocess.Popen
    def bounded(command, **options):
        return start(["setpriv", "--bounding-set", f"-all,{kept}", "--inh-caps", "-all", "--no-new-privs", *command], **options)
    daemon = make_daemon(BLOCK, start=False, extra=f"user: {USER}")
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", lambda command, **options: bounded(command, **options) if command[1:2] == ["run"] else start(command, **options))
        daemon.start()
        assert query(daemon, postgres) == [(1,)]
        daemon.kill()
        daemon.start()
    assert query(daemon, postgres) == [(1,)]
    daemon.targets[0]["addresses"].append("192.0.2.7:5432")
    daemon.write_config()
    daemon.cli("reload")
    assert query(daemon, postgres) == [(1,)]
    assert daemon.status()["state"] == "running"
