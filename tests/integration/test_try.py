"""`sluice try -- COMMAND`: Sluice for one command, without touching the host; and nothing of it left, whatever ends it."""
import json
import os
import pathlib
import signal
import subprocess

import pytest

from daemon import BINARY, CGROUP_ROOT
from database import MASKED, PAN, PG_BIN, wait_until

TRY_DIRECTORY = pathlib.Path("/run/sluice-try")


@pytest.fixture
def config(tmp_path, postgres):
    path = tmp_path / "sluice.yaml"
    path.write_text(f'version: 1\ntargets:\n  - {{name: cards-db, protocol: postgres, addresses: ["127.0.0.1:{postgres.port}"]}}\n')
    return path


@pytest.fixture(autouse=True)
def nothing_stays():
    before = leftovers()
    yield
    wait_until("nothing is left", lambda: leftovers() <= before)


def leftovers():
    found = set(map(str, TRY_DIRECTORY.glob("sluice-try-*"))) if TRY_DIRECTORY.exists() else set()
    found |= set(map(str, pathlib.Path("/sys/fs/bpf").glob("sluice-try-*")))
    # Not rglob, which fails where another test's cgroup goes away meanwhile.
    return found | {os.path.join(above, name) for above, names, _ in os.walk(CGROUP_ROOT) for name in names if name.startswith("sluice-try-")}


def psql(postgres, sql):
    return [PG_BIN / "psql", "-X", "-A", "-t", "-h", "127.0.0.1", "-p", postgres.port, "-U", "postgres", "-c", sql]


def attempt(config, *command, options=(), **more):
    return subprocess.run([str(BINARY), "try", "--config", str(config), *map(str, options), "--", *map(str, command)], capture_output=True,
                          text=True, timeout=120, check=False, **more)


def test_the_command_is_masked_and_the_host_is_not(config, postgres):
    run = attempt(config, *psql(postgres, "select pan from cards where id = 1"))
    assert run.returncode == 0 and run.stdout.strip() == MASKED, run.stderr
    assert "1 sessions, 1 commands, 0 refused, 1 pieces of card data masked" in run.stderr
    assert "cards-db pan visa: 1" in run.stderr and PAN not in run.stderr
    direct = subprocess.run(list(map(str, psql(postgres, "select pan from cards where id = 1"))), capture_output=True, text=True, check=True)
    assert direct.stdout.strip() == PAN


def test_a_policy_is_tried(config, postgres, tmp_path):
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "a.yaml").write_text('version: 1\nrules:\n  - {name: no-drop, when: {target: "*", statement: drop}, then: block, because: Not here.}\n')
    run = attempt(config, *psql(postgres, "drop table cards"), options=["--policy", policies, "--json"])
    assert run.returncode == 1, "psql's own"
    assert "no-drop" in run.stderr
    summary = json.loads(run.stderr.splitlines()[-1])
    assert summary["refused"] == 1 and summary["refusals"][0]["rule"] == "no-drop" and summary["refusals"][0]["text"] == "drop table cards"
    relative = attempt(config, *psql(postgres, "drop table cards"), options=["--policy", "policies"], cwd=tmp_path)
    assert "by rule no-drop" in relative.stderr
    (policies / "a.yaml").write_text("version: 1\nrules: [{name: broken}]\n")
    run = attempt(config, "touch", tmp_path / "ran", options=["--policy", policies])
    assert run.returncode == 2 and "a.yaml:2" in run.stderr and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("script, status", [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 128 + 15), ("kill -KILL $$", 128 + 9)])
def test_the_exit_status_is_the_commands(config, script, status):
    run = attempt(config, "sh", "-c", script)
    assert run.returncode == status
    assert "made no connection to a target (cards-db)" in run.stderr and not run.stdout


def test_input_output_and_arguments_pass_through(config):
    run = attempt(config, "sh", "-c", 'printf "%s|" "$@"; cat; echo err >&2', "sh", "--json", "-x", "a b", "", "--", input="from stdin")
    assert run.stdout == "--json|-x|a b||--|from stdin" and "err\n" in run.stderr


def test_commands_that_cannot_be_run(config, tmp_path):
    assert attempt(config, "no-such-program").returncode == 127
    plain = tmp_path / "plain"
    plain.write_text("not a program")
    assert attempt(config, plain).returncode == 126
    assert subprocess.run([BINARY, "try", "--config", config], capture_output=True, check=False).returncode == 2, "no command"
    run = attempt(tmp_path / "none.yaml", "true")
    assert run.returncode == 2 and "none.yaml" in run.stderr
    user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    if subprocess.run([*user, BINARY, "version"], capture_output=True, check=False).returncode == 0:
        run = subprocess.run([*user, BINARY, "try", "--", "true"], capture_output=True, text=True, check=False)
        assert run.returncode == 2 and "needs root" in run.stderr


def start(config, *command, **more):
    process = subprocess.Popen([str(BINARY), "try", "--config", str(config), "--", *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **more)
    # A shell cannot trap what was ignored when it began, and a test run in the background began with SIGINT ignored.
    assert process.stdout.readline() == "up\n", process.stderr.read()
    return process


def test_ctrl_c_reaches_the_command_and_leaves_nothing(config):
    process = start(config, "sh", "-c", "trap 'echo interrupted; exit 3' INT; echo up; while :; do sleep 0.1; done",  # the shell's own pace
                    start_new_session=True, stdin=subprocess.DEVNULL)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=60)
    assert "interrupted" in out and process.returncode == 3, err
    assert "made no connection" in err, "what was seen is still said"


def test_term_is_passed_on(config):
    process = start(config, "sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done")  # the shell's own pace
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 5


def test_killed_it_still_cleans_up(config):
    """kill -9 of `sluice try` itself: its keeper removes everything."""
    before = leftovers()
    process = start(config, "sh", "-c", "echo up; exec sleep 600")
    assert len(leftovers() - before) == 4, "a directory, a cgroup, pins and their lock"
    (cgroup,) = [path for path in leftovers() - before if path.startswith(str(CGROUP_ROOT))]
    (sleeper,) = pathlib.Path(cgroup, "cgroup.procs").read_text().split()
    try:
        process.kill()
        process.wait(timeout=10)
        wait_until("the keeper removed everything", lambda: leftovers() <= before)
        assert pathlib.Path(f"/proc/{sleeper}").exists(), "the command is not ours to kill"
    finally:
        os.kill(int(sleeper), signal.SIGKILL)


def test_whatever_was_killed_the_next_one_cleans_up(config):
    """kill -9 of `sluice try` and of its keeper at once; the daemon goes on until the next try comes."""
    before = leftovers()
    process = start(config, "sh", "-c", "echo up; exec sleep 600")
    (directory,) = [path for path in leftovers() - before if path.startswith(str(TRY_DIRECTORY))]
    daemon = int((pathlib.Path(directory) / "daemon").read_text().split()[0])
    keeper = int(pathlib.Path(f"/proc/{daemon}/stat").read_text().rsplit(")", 1)[1].split()[1])
    (cgroup,) = [path for path in leftovers() - before if path.startswith(str(CGROUP_ROOT))]
    (sleeper,) = pathlib.Path(cgroup, "cgroup.procs").read_text().split()
    try:
        os.kill(keeper, signal.SIGKILL)
        process.kill()
        process.wait(timeout=10)
        assert leftovers() - before and pathlib.Path(f"/proc/{daemon}").exists()
        assert attempt(config, "true").returncode == 0
        assert leftovers() <= before
        wait_until("the daemon has ended", lambda: not pathlib.Path(f"/proc/{daemon}").exists())
    finally:
        os.kill(int(sleeper), signal.SIGKILL)


def test_several_at_once_do_not_meet(config, postgres):
    before = leftovers()
    first = start(config, "sh", "-c", "echo up; read line; exit 0", stdin=subprocess.PIPE)
    during = leftovers()
    run = attempt(config, *psql(postgres, "select pan from cards where id = 1"))
    assert run.stdout.strip() == MASKED
    assert during <= leftovers(), "the first one's are left alone"
    first.communicate("\n", timeout=60)
    assert first.returncode == 0 and leftovers() <= before


def test_while_a_service_runs_both_see_it(make_daemon, config, postgres):
    """The service steers what `try` opens to the server, so that trying a policy is no way around the one in force."""
    service = make_daemon('version: 1\nrules:\n  - {name: in-force, when: {target: "*", statement: truncate}, then: block, because: Not here.}\n')
    with service.steered():
        run = attempt(config, *psql(postgres, "truncate cards"))
        assert run.returncode == 1 and "in-force" in run.stderr
        assert "1 sessions, 1 commands, 0 refused" in run.stderr, "what is tried would have let it go"
        run = attempt(config, *psql(postgres, "select pan from cards where id = 1"))
        assert run.stdout.strip() == MASKED
    blocked = service.wait_event("type=command_blocked")
    assert blocked["rule"] == "in-force" and blocked["identity"]["attested"]["exe"] == os.path.realpath(BINARY)
    assert service.status()["state"] == "running"
