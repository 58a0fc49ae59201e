"""The command line against a running daemon: what it prints, its exit statuses, and what operators and scripts rely on."""
import datetime
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest

import pgwire
from daemon import BINARY, ROOT
from database import MASKED, PAN, PG_BIN, wait_until

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")
POLICY = """version: 1
rules:
  - {name: no-drop, when: {target: "*", statement: drop}, then: block, because: Not here.}
"""


def command_line(*arguments, **options):
    return subprocess.run([str(BINARY), *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, **options)


def test_status_has_what_scripts_rely_on(sluice, postgres):
    with sluice.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        client.run("select 1")
        status = sluice.status()
    assert status["state"] == "running"
    assert isinstance(status["policy_version"], str) and status["policy_version"]
    assert status["sinks"] == []
    (target,) = status["targets"]
    assert target["name"] == "cards-db" and target["sessions"] >= 1 and target["state"]
    coverage = target["coverage"]
    assert coverage["connects"] == sum(coverage[key] for key in ("redirected", "refused", "exempt", "uncovered"))
    assert coverage["redirected"] >= 1
    human = sluice.cli("status").stdout
    assert "running" in human and "cards-db" in human and "\x1b[" not in human


def test_sessions_list_show_kill(make_daemon, postgres):
    daemon = make_daemon()
    with daemon.steered():
        client = pgwire.Connection("127.0.0.1", postgres.port, application_name="worker\x1b[2J")
        client.run("select 1")
        (session,) = daemon.sessions()
        assert re.fullmatch(r"[0-9a-f]{16}", session["id"])
        assert session["target"] == "cards-db" and session["commands"] >= 1 and session["bytes"] > 0 and TIME.fullmatch(session["started"])
        assert session["identity"]["attested"]["pid"] == os.getpid()
        assert session["identity"]["attested"]["uid"] == 0
        assert session["identity"]["claimed"]["user"] == "postgres"

        human = daemon.cli("sessions", "list").stdout
        assert session["id"] in human and "\x1b" not in human
        assert "\x1b" not in daemon.cli("sessions", "show", session["id"]).stdout, "a client's text must not drive the terminal"
        shown = json.loads(daemon.cli("sessions", "show", session["id"], "--json").stdout)
        assert shown["id"] == session["id"]
        assert {"session_started", "command_received"} <= {event["type"] for event in shown["events"]}

        assert json.loads(daemon.cli("sessions", "kill", session["id"], "--json").stdout) == {"id": session["id"], "killed": True}
        with pytest.raises((pgwire.Closed, ConnectionError)):
            while True:
                client.next()
        client.close()
    killed = daemon.wait_event("type=session_killed")
    assert killed["target"] == f"session:{session['id']}" and killed["identity"]["attested"]["exe"] == str(BINARY.resolve())
    wait_until("the session is gone", lambda: not daemon.sessions())
    assert daemon.cli("sessions", "kill", session["id"], check=False).returncode == 1
    assert daemon.cli("sessions", "show", "0" * 16, check=False).returncode == 1
    assert daemon.cli("sessions", "show", "nonsense", check=False).returncode == 2
    (ended,) = [json.loads(line) for line in daemon.cli("sessions", "list", "--past", "--since", "1h", "--json").stdout.splitlines()]
    assert ended["id"] == session["id"] and ended["started"] < ended["ended"] and ended["commands"] >= 1 and ended["bytes"] > 0
    assert session["id"] in daemon.cli("sessions", "list", "--past").stdout
    past = json.loads(daemon.cli("sessions", "show", session["id"], "--json").stdout)
    assert past["state"] == "ended" and any(event["type"] == "session_ended" for event in past["events"])


def test_events_in_json(make_daemon, postgres):
    daemon = make_daemon(POLICY)
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port, application_name="reporting") as client:
        client.run(f"select pan from cards where pan = '{PAN}'")
        client.run("drop table cards")
    daemon.wait_event("type=session_ended")
    events = daemon.events()
    indexes = [event["index"] for event in events]
    assert indexes == sorted(set(indexes)), "in order, each once"
    assert all(TIME.fullmatch(event["time"]) for event in events)
    assert all(event["outcome"] in ("success", "failure", "refused") for event in events)

    received = next(event for event in events if event["type"] == "command_received")
    assert received["target"] == "cards-db" and re.fullmatch(r"[0-9a-f]{16}", received["session"]) and received["origin"]
    attested, claimed = received["identity"]["attested"], received["identity"]["claimed"]
    assert attested["pid"] == os.getpid() and attested["uid"] == 0 and attested["user"] == "root"
    assert attested["exe"] == os.path.realpath(sys.executable)
    assert claimed["user"] == "postgres" and claimed["application"] == "reporting"
    assert MASKED in received["command"]["text"] and PAN not in received["command"]["text"]
    assert received["command"]["kinds"] == ["select"]
    assert any("cards" in json.dumps(relation) for relation in received["command"]["relations"])

    completed = next(event for event in events if event["type"] == "command_completed" and event.get("findings"))
    assert completed["outcome"] == "success" and completed["rows"] == 1 and completed["bytes"] > 0
    assert completed["findings"][0]["kind"] == "pan" and completed["findings"][0]["brand"] == "visa" and completed["findings"][0]["count"] == 1

    blocked = next(event for event in events if event["type"] == "command_blocked")
    assert blocked["outcome"] == "refused" and blocked["rule"] == "no-drop" and blocked["command"]["kinds"] == ["drop"]
    assert blocked["policy_version"] == daemon.status()["policy_version"]


def test_events_filters_limits_and_times(make_daemon, postgres):
    daemon = make_daemon(POLICY)
    start = datetime.datetime.now(datetime.timezone.utc)
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        for number in range(30):
            client.run(f"select {number}")
        client.run("drop table cards")
    daemon.wait_event("type=session_ended")

    def lines(*arguments):
        return [json.loads(line) for line in daemon.cli("events", "--json", *arguments).stdout.splitlines()]

    assert len(lines("--filter", "type=command_received")) >= 30, "unlimited unless asked for"
    assert len(lines("--filter", "type=command_received", "--limit", "7")) == 7
    (blocked,) = lines("--filter", "type=command_blocked and target=cards-* and identity.user=root and command.text~\"drop\"")
    assert blocked["rule"] == "no-drop"
    assert lines("--filter", "type=command_blocked and identity.user=nobody-else") == []
    assert lines("--since", "1h", "--filter", "type=command_blocked")
    assert lines("--since", start.isoformat(), "--filter", "type=command_blocked")
    assert not lines("--until", (start - datetime.timedelta(hours=1)).isoformat())
    assert lines("--since", "today")
    for wrong in (["--filter", "type="], ["--filter", "colour=red"], ["--since", "whenever"], ["--limit", "-1"]):
        run = daemon.cli("events", *wrong, check=False)
        assert run.returncode == 2 and run.stderr and not run.stdout, wrong


def test_reading_the_log_is_an_event(make_daemon):
    daemon = make_daemon()
    daemon.cli("events", "--filter", "type=command_blocked")
    read = daemon.wait_event("type=log_read", lambda event: "command_blocked" in json.dumps(event))
    assert read["identity"]["attested"]["uid"] == 0


def test_events_follow(make_daemon, postgres):
    daemon = make_daemon()
    process = subprocess.Popen([BINARY, "events", "--follow", "--json", "--filter", "type=command_received", "--config", daemon.config],
                               stdout=subprocess.PIPE, text=True)
    try:
        seen = []
        reader = threading.Thread(target=lambda: seen.extend(iter(process.stdout.readline, "")), daemon=True)
        reader.start()
        with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
            for number in range(3):
                client.run(f"select 'followed {number}'")
                wait_until(f"event {number} is followed", lambda: any(f"followed {number}" in line for line in list(seen)))
        daemon.stop()
        assert process.wait(timeout=20) != 0, "a stream that the daemon ended is not a success"
    finally:
        process.kill()
        process.wait()


def test_events_are_streamed_not_collected(make_daemon, postgres):
    daemon = make_daemon(durability="relaxed")
    with daemon.steered():
        run = subprocess.run([PG_BIN / "pgbench", "-h", "127.0.0.1", "-p", str(postgres.port), "-U", "postgres", "-n", "-T", "4", "-c", "4", "-f", "/dev/stdin",
                              "postgres"], input="select 1;\n", text=True, capture_output=True, check=False)
        assert run.returncode == 0, run.stderr

    def resident():
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text()).group(1)) * 1024
    before = resident()
    with subprocess.Popen([BINARY, "events", "--json", "--config", daemon.config], stdout=subprocess.PIPE, text=True) as process:
        count = sum(1 for _ in process.stdout)
    assert process.returncode == 0 and count > 1000
    assert resident() - before < 64 << 20


def test_daemon_that_is_not_there(make_daemon):
    daemon = make_daemon(start=False)
    for command in (["status"], ["sessions", "list"], ["events"], ["sessions", "kill", "0" * 16]):
        run = daemon.cli(*command, check=False)
        assert run.returncode == 3 and "cannot be reached" in run.stderr and not run.stdout, command


def test_control_environment_overrides_the_configuration(make_daemon):
    daemon = make_daemon()
    socket_path = daemon.directory / "control.sock"
    assert sluice_cli("status", env={**os.environ, "SLUICE_CONTROL": str(socket_path)}).returncode == 0
    assert daemon_cli_with(daemon, SLUICE_CONTROL="/nonexistent").returncode == 3


def sluice_cli(*arguments, env):
    return subprocess.run([str(BINARY), *arguments], capture_output=True, text=True, timeout=60, env=env, check=False)


def daemon_cli_with(daemon, **environment):
    return sluice_cli("status", "--config", str(daemon.config), env={**os.environ, **environment})


def test_events_from_files_without_a_daemon(make_daemon, postgres):
    daemon = make_daemon(POLICY)
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        client.run("drop table cards")
    daemon.wait_event("type=session_ended")
    daemon.stop()
    run = daemon.cli("events", "--dir", str(daemon.audit), "--json", "--filter", "type=command_blocked")
    assert json.loads(run.stdout)["rule"] == "no-drop"
    types = [json.loads(line)["type"] for line in daemon.cli("events", "--dir", str(daemon.audit), "--json").stdout.splitlines()]
    assert types[0] == "daemon_started" and types[-1] == "daemon_stopped"


def test_control_socket_is_for_root_and_the_admin_group(make_daemon):
    daemon = make_daemon()
    path = daemon.directory / "control.sock"
    assert path.stat().st_mode & 0o777 == 0o660
    for parent in (daemon.directory, *daemon.directory.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    outsider = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", str(BINARY), "status"]
    binary_reachable = subprocess.run([*outsider[:-1], "version"], capture_output=True, check=False).returncode == 0
    if not binary_reachable:
        pytest.skip(f"the user nobody cannot execute {BINARY}")
    run = subprocess.run(outsider, capture_output=True, text=True, env={**os.environ, "SLUICE_CONTROL": str(path)}, check=False)
    assert run.returncode == 3 and "denied" in run.stderr.lower()


def test_a_slow_control_client_holds_up_nobody(make_daemon):
    daemon = make_daemon()
    slow = []
    for _ in range(20):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(daemon.directory / "control.sock"))
        client.sendall(b"GET /v1/ev")
        slow.append(client)
    assert daemon.status()["state"] == "running"
    for client in slow:
        client.close()


def test_check(tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text('version: 1\ntargets:\n  - {name: db, protocol: postgres, addresses: ["10.0.0.1:5432"]}\n')
    assert command_line("check", "--config", good).returncode == 0
    bad.write_text('version: 1\ntargets:\n  - name: db\n    protocol: postgres\n    adresses: ["10.0.0.1:5432"]\n    when_down: maybe\nfoo: 1\n')
    run = command_line("check", "--config", bad)
    assert run.returncode == 2
    assert f"{bad}:5:" in run.stderr and "addresses" in run.stderr, "file:line:column with a hint"
    assert f"{bad}:6:" in run.stderr and f"{bad}:7:" in run.stderr, "all problems at once"
    problems = [json.loads(line) for line in command_line("check", "--config", bad, "--json").stdout.splitlines()]
    assert {5, 6, 7} <= {problem["line"] for problem in problems}
    assert command_line("check", "--config", tmp_path / "missing.yaml").returncode == 2
    assert command_line("run", "--config", bad).returncode == 2


def test_later_features_are_refused_not_ignored(tmp_path):
    config = tmp_path / "tls.yaml"
    config.write_text('version: 1\ntargets:\n  - {name: db, protocol: postgres, addresses: ["10.0.0.1:5432"], tls: {client: prefer}}\n')
    run = command_line("check", "--config", config)
    assert run.returncode == 2 and "not yet supported" in run.stderr and f"{config}:3:" in run.stderr


def test_doctor(make_daemon):
    run = command_line("doctor", "--json")
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    assert run.returncode == 0, "this host can protect targets: everything that is required is there"
    assert len(rows) > 60 and len({row["name"] for row in rows}) == len(rows)
    for row in rows:
        assert row["group"] and row["name"] and row["detail"] and isinstance(row["found"], bool)
        assert row["state"] in ("found", "missing", "unknown", "limit") and row["found"] == (row["state"] == "found")
        assert row["need"] in ("required", "optional", "unused")
        assert row["found"] or (row["meaning"] and row["remedy"] is not None), f"a gap has to say what it means: {row}"
    assert {row["group"] for row in rows} == {"installation", "host", "kernel", "steering", "identity", "beyond", "accelerate"}
    human = command_line("doctor").stdout
    for row in rows:
        assert re.search(rf"^  {row['state']} +{re.escape(row['name'])}  ", human, re.M), row
    assert "targets can be protected on this host" in human


def test_doctor_says_no_where_something_required_is_missing():
    """Without root nothing can be tried; the rows say so, and the exit status is that of a "no"."""
    run = subprocess.run(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", BINARY, "doctor"], capture_output=True, text=True,
                         timeout=120, check=False)
    assert run.returncode == 1, run.stdout + run.stderr
    assert re.search(r"missing\s+privileges\s+running as user", run.stdout), run.stdout
    assert "targets CANNOT be protected on this host" in run.stdout


def test_help_and_suggestions():
    top = command_line("--help")
    assert top.returncode == 0
    for command in ("run", "check", "doctor", "status", "sessions", "events", "mask", "scan", "audit", "unload", "demo", "version"):
        assert re.search(rf"^\s+{command}\b", top.stdout, re.M), command
        assert "Example" in command_line(command, "--help").stdout, command
    run = command_line("statsu")
    assert run.returncode == 2 and "status" in run.stderr


def test_audit_verify_finds_a_changed_byte(make_daemon, postgres, tmp_path):
    daemon = make_daemon()
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        for number in range(20):
            client.run(f"select {number}")
    daemon.wait_event("type=session_ended")
    daemon.stop()
    intact = daemon.verify()
    assert intact.returncode == 0 and "intact" in intact.stdout
    report = json.loads(daemon.cli("audit", "verify", "--json").stdout)
    assert report["verdict"] == "intact" and report["events"] > 20 and re.fullmatch(r"[0-9a-f]{64}", report["root_hash"])

    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", daemon.audit, copy], check=True)
    segment = max((path for path in copy.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    changed = command_line("audit", "verify", "--dir", copy, "--json")
    assert changed.returncode == 4, changed.stdout + changed.stderr
    assert json.loads(changed.stdout)["verdict"] == "tampered"
    assert command_line("audit", "verify", "--dir", tmp_path / "nothing").returncode == 2


def test_audit_verify_holds_the_log_against_a_kept_head(make_daemon, postgres, tmp_path):
    daemon = make_daemon()
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        client.run("select 1")
    daemon.wait_event("type=session_ended")
    daemon.stop()
    kept = tmp_path / "head"
    report = json.loads(daemon.cli("audit", "verify", "--json").stdout)
    kept.write_text(report["head"])
    short = tmp_path / "short"
    subprocess.run(["cp", "-a", daemon.audit, short], check=True)
    assert daemon.cli("audit", "verify", "--head", kept).returncode == 0
    assert daemon.cli("audit", "verify", "--head", "-", stdin=report["head"]).returncode == 0
    daemon.start()
    daemon.stop()
    grown = json.loads(daemon.cli("audit", "verify", "--head", kept, "--json").stdout)
    assert grown["verdict"] == "intact" and grown["head_records"] == report["records"] < grown["records"]
    # The older log is sound by itself; only the head of the newer one tells that its end is missing.
    kept.write_text(grown["head"])
    assert command_line("audit", "verify", "--dir", short).returncode == 0
    assert command_line("audit", "verify", "--dir", short, "--head", kept).returncode == 5
    kept.write_text(report["head"].replace("sluice.log/", "sluice.log/0"))
    assert command_line("audit", "verify", "--dir", short, "--head", kept).returncode == 4
    for wrong in ("", "sluice.log/x\nmany\n\n", "x" * 100_000):
        kept.write_text(wrong)
        run = command_line("audit", "verify", "--dir", short, "--head", kept)
        assert run.returncode == 2 and "head" in run.stderr, wrong[:20]
    assert command_line("audit", "verify", "--dir", short, "--head", tmp_path / "none").returncode == 2


def test_reload_by_signal_and_by_command(make_daemon, postgres):
    daemon = make_daemon()
    before = daemon.status()["policy_version"]
    daemon.write_policy(POLICY)
    daemon.cli("reload")
    after = daemon.status()["policy_version"]
    assert after != before
    daemon.write_policy("version: 1\nrules: [{name: broken, when: {tabels: x}, then: block}]\n")
    run = daemon.cli("reload", check=False)
    assert run.returncode == 2 and "tables" in run.stderr and "test.yaml:2:" in run.stderr
    assert daemon.status()["policy_version"] == after
    daemon.write_policy(POLICY.replace("no-drop", "renamed"))
    daemon.reload()
    wait_until("the signal reloads", lambda: daemon.status()["policy_version"] not in (before, after))


def worker_threads(daemon):
    names = [path.read_text() for path in pathlib.Path(f"/proc/{daemon.process.pid}/task").glob("*/comm")]
    return sum(name.startswith("worker-") for name in names)


def test_workers_are_half_of_the_processors_unless_said_otherwise(make_daemon, postgres):
    daemon = make_daemon(workers=None)
    assert worker_threads(daemon) == max(len(os.sched_getaffinity(0)) // 2, 1)
    other = make_daemon(workers=3)
    assert worker_threads(other) == 3
    other.workers = 1
    other.write_config()
    assert "workers" in other.cli("reload").stderr and worker_threads(other) == 3


def test_tells_systemd_when_it_is_ready_and_when_it_stops(make_daemon, tmp_path):
    """Type=notify: READY=1 once it enforces, WATCHDOG=1 while it lives, STOPPING=1 at the end (sd_notify(3))."""
    path = tmp_path / "notify"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(path))
    listener.settimeout(30)
    daemon = make_daemon(start=False)
    with open(daemon.log, "ab") as log:
        daemon.process = subprocess.Popen([BINARY, "run", "--config", daemon.config], stdout=log, stderr=log,
                                          env={**os.environ, "NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "1000000"})

    def wait_for(word):
        while True:
            message = listener.recv(4096).decode()
            if word in message.split("\n"):
                return
    wait_for("READY=1")
    assert daemon.cli("status", check=False).returncode == 0, "READY=1 means that it enforces"
    wait_for("WATCHDOG=1")
    daemon.process.send_signal(signal.SIGTERM)
    wait_for("STOPPING=1")
    assert daemon.process.wait(timeout=30) == 0


def test_guard_refuses_until_the_daemon_comes(make_daemon, postgres):
    daemon = make_daemon(start=False)
    daemon.cli("guard")
    with daemon.steered(), pytest.raises(ConnectionRefusedError):
        pgwire.Connection("127.0.0.1", postgres.port)
    daemon.start()
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        client.run("select 1")


def test_unload_says_that_targets_are_uncovered(make_daemon, postgres):
    daemon = make_daemon()
    daemon.kill()
    run = daemon.cli("unload")
    assert "uncovered" in run.stdout.lower()
    with daemon.steered(), pgwire.Connection("127.0.0.1", postgres.port) as client:
        client.run("select 1")
    assert json.loads(daemon.cli("unload", "--json").stdout) == {"removed": 0, "daemon_lives": False}


def test_unload_under_a_daemon_says_what_is_left(make_daemon):
    """A daemon that has given up root cannot remove its own lock; whoever unloads under it is told."""
    daemon = make_daemon(extra="user: daemon")
    run = daemon.cli("unload")
    assert "a daemon still runs" in run.stderr and not os.path.exists(daemon.pins)
    daemon.stop()
    assert daemon.cli("unload").stderr == ""
    assert not os.path.exists(f"{daemon.pins}-lock")


def test_units_are_valid():
    if subprocess.run(["sh", "-c", "command -v systemd-analyze"], capture_output=True, check=False).returncode != 0:
        pytest.skip("systemd-analyze is not installed")
    units = sorted((ROOT / "scripts/packaging").glob("*.service"))
    assert len(units) == 2
    run = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    complaints = [line for line in run.stderr.splitlines() if "/usr/sbin/sluice is not executable" not in line]
    assert not complaints, "\n".join(complaints)


@pytest.mark.slow
def test_demo_runs_unattended():
    run = subprocess.run([ROOT / "scripts/demo", "--yes", "--binary", BINARY], capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Tour complete" in run.stdout and PAN not in run.stdout + run.stderr
