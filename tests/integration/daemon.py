"""A Sluice daemon of the tests' own: configuration, policies, log and pins in a scratch directory, steering on a private cgroup only.

Steering follows the cgroup in which a socket is created, so `with daemon.steered():` moves this process in, and everything it connects
or starts meanwhile is covered; outside of it the same addresses are reached directly.
"""
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import uuid

from database import PANS, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("SLUICE_BINARY", ROOT / "build/sluice"))
CGROUP_ROOT = next((path for path in map(pathlib.Path, ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")) if (path / "cgroup.procs").exists()), None)
os.environ.setdefault("LSAN_OPTIONS", f"print_suppressions=0:suppressions={pathlib.Path(__file__).with_name('lsan_suppressions.txt')}")
SANITIZER = re.compile(r"(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|Assertion .* failed)")


class Daemon:
    def __init__(self, directory, targets, policies=None, durability="strict", extra="", covered=False, workers=2):
        """targets: list of dicts with at least `name` and `addresses`. policies: text of one policy file, or None. covered: the daemon
        runs below the steered cgroup itself, as where steering is attached to the root. workers: two, so that what concerns two is tried on
        small machines too; None for the default."""
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.tag = uuid.uuid4().hex[:8]
        self.cgroup = CGROUP_ROOT / f"sluice-test-{self.tag}"
        self.cgroup.mkdir()
        self.pins = f"/sys/fs/bpf/sluice-test-{self.tag}"
        self.config = self.directory / "sluice.yaml"
        self.audit = self.directory / "state/audit"
        self.policies = self.directory / "policies"
        self.policies.mkdir(exist_ok=True)
        self.log = self.directory / "sluice.log"
        self.targets, self.durability, self.extra, self.covered, self.workers = targets, durability, extra, covered, workers
        self.process = None
        self.write_config()
        if policies is not None:
            self.write_policy(policies)

    def write_config(self):
        lines = ["version: 1", "targets:"]
        for target in self.targets:
            entries = {"protocol": "postgres", **target}
            lines += [f"  {'-' if number == 0 else ' '} {key}: {json.dumps(value)}" for number, (key, value) in enumerate(entries.items())]
        lines += [f"policies: {self.policies}", f"state_directory: {self.directory}/state",
                  f"audit: {{directory: {self.audit}, durability: {self.durability}}}",
                  f"control: {{socket: {self.directory}/control.sock}}",
                  f"steering: {{bpf_directory: {self.pins}, cgroup: {self.cgroup}}}", self.extra]
        lines += [f"workers: {self.workers}"] if self.workers else []
        self.config.write_text("\n".join(lines) + "\n")

    def write_policy(self, text, name="test.yaml"):
        (self.policies / name).write_text(text)

    def start(self):
        """Starts the daemon and waits until it enforces."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([BINARY, "run", "--config", self.config], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            preexec_fn=self._enter if self.covered else None)
        wait_until("the daemon enforces", lambda: self._up(), seconds=60)
        return self

    def subgroup(self, name):
        """A cgroup below the steered one; it goes with it."""
        path = self.cgroup / name
        path.mkdir(exist_ok=True)
        return path

    def _enter(self):
        (self.subgroup("daemon") / "cgroup.procs").write_text(str(os.getpid()))

    def _up(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log.read_text()[-4000:]}")
        return self.cli("status", check=False).returncode == 0

    def cli(self, *arguments, check=True, stdin=None):
        """Runs one sluice command against this daemon."""
        run = subprocess.run([str(BINARY), *arguments, "--config", str(self.config)], capture_output=True, text=True, timeout=120, input=stdin,
                             check=False)
        if check and run.returncode != 0:
            raise AssertionError(f"sluice {' '.join(arguments)} → {run.returncode}\n{run.stdout}{run.stderr}")
        return run

    def status(self):
        return json.loads(self.cli("status", "--json").stdout)

    def metrics(self):
        """The text that Prometheus gets, from the control socket."""
        client = http.client.HTTPConnection("sluice")
        client.sock = socket.socket(socket.AF_UNIX)
        client.sock.connect(str(self.directory / "control.sock"))
        client.request("GET", "/metrics")
        text = client.getresponse().read().decode()
        client.close()
        return text

    def coverage(self, target=None):
        return next(t["coverage"] for t in self.status()["targets"] if target in (None, t["name"]))

    def sessions(self):
        return [json.loads(line) for line in self.cli("sessions", "list", "--json").stdout.splitlines()]

    def events(self, expression=None):
        """Every event in the log that the filter matches, oldest first."""
        arguments = ["events", "--json"] + (["--filter", expression] if expression else [])
        return [json.loads(line) for line in self.cli(*arguments).stdout.splitlines()]

    def wait_event(self, expression, condition=lambda event: True):
        """The first event that matches; waits for it."""
        return wait_until(f"an event {expression}", lambda: next((e for e in self.events(expression) if condition(e)), None))

    def verify(self):
        """Exit status of `sluice audit verify` on the log directory."""
        return self.cli("audit", "verify", "--dir", str(self.audit), check=False)

    @contextlib.contextmanager
    def steered(self):
        """This process, and what it starts, is covered inside the block."""
        (self.cgroup / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield self
        finally:
            (CGROUP_ROOT / "cgroup.procs").write_text(str(os.getpid()))

    def run(self, command, **options):
        """Runs a client program inside the steered cgroup."""
        with self.steered():
            return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=options.pop("timeout", 120), check=False, **options)

    def kill(self):
        """kill -9: nothing is cleaned up by the daemon itself."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def stop(self, seconds=30):
        """Graceful stop; returns the exit status."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=seconds)
        return self.process.returncode if self.process is not None else None

    def close(self):
        """Stops, unloads, and holds everything it wrote against the rules: no sanitizer report, no raw card number anywhere."""
        try:
            status = self.stop()
            self.assert_clean()
            assert status in (0, -signal.SIGKILL, None), f"the daemon ended with {status}:\n{self.log.read_text()[-4000:]}"
        finally:
            if self.process is not None and self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.cli("unload", check=False)
            with contextlib.suppress(OSError):
                wait_until("the cgroup is empty", lambda: not (self.cgroup / "cgroup.procs").read_text(), seconds=5)
            for path in self.cgroup.iterdir():
                if path.is_dir():
                    path.rmdir()
            self.cgroup.rmdir()

    def assert_clean(self):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        found = SANITIZER.search(text)
        assert not found, f"{found.group(0)}\n{text[max(0, found.start() - 200):found.start() + 4000]}"
        for path in [self.log, *sorted((self.directory / "state").rglob("*"))]:
            if path.is_file():
                data = path.read_bytes()
                for pan in PANS:
                    assert pan.encode() not in data, f"{path} holds a raw card number"
