"""Starts what the benchmark compares: PostgreSQL itself, the bare relay, haproxy, pgbouncer and Sluice, all on this machine.

Each contender says how a client reaches it (port, cgroup) and which processes are the proxy, so that their CPU and memory can be read.
"""
import contextlib
import dataclasses
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from raw_client import idle_sessions

PG_BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
CGROUP_ROOTS = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")
READY_SECONDS = 20


@dataclasses.dataclass
class Contender:
    name: str
    port: int
    pids: list
    cgroup: pathlib.Path | None = None

    def preexec(self):
        """Run in the child before exec: moves it into the steered cgroup, where there is one."""
        if self.cgroup is not None:
            (self.cgroup / "cgroup.procs").write_text(str(os.getpid()))


def wait_for_port(port, what):
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise SystemExit(f"bench: {what} does not listen on port {port}")


def as_postgres(command):
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *map(str, command)]


def enter(cgroup):
    """A preexec_fn that moves the process into a cgroup, which is made if need be."""
    cgroup.mkdir(exist_ok=True)
    return lambda: (cgroup / "cgroup.procs").write_text(str(os.getpid()))


TARGETS_GROWN = RULES_GROWN = 10_000
GROWN_SESSIONS = 5_000


@contextlib.contextmanager
def scratch():
    """A directory for a measurement's own files."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as directory:
        yield directory


class Lab:
    """Owns a scratch directory and every process; contenders start when they are first asked for, close() ends them all."""

    def __init__(self, directory, programs, base_port):
        """programs: the paths of `sluice`, `relay` and `stub`."""
        self.directory = pathlib.Path(directory)
        self.programs, self.base_port = programs, base_port
        self.stub_port = base_port + 50
        self.processes, self.sluices, self.cgroups, self.clients, self.ready = [], [], [], [], {}
        self.directory.chmod(0o755)
        self.makers = {
            "direct": self.direct,
            "relay": lambda: self.bare_relay("relay", base_port + 1, base_port),
            "haproxy": lambda: self.haproxy("haproxy", base_port + 2, base_port),
            "pgbouncer": self.pgbouncer,
            "sluice": lambda: self.sluice("sluice", base_port),
            "strict": lambda: self.sluice("strict", base_port, durability="strict"),
            "accelerate auto": lambda: self.sluice("accelerate auto", base_port, accelerate="auto"),
            "accelerate on": lambda: self.sluice("accelerate on", base_port, accelerate="on"),
            "grown": self.grown,
            "stub": self.stub,
            "stub relay": lambda: self.bare_relay("stub relay", self.stub_port + 1, self.stub_port),
            "stub haproxy": lambda: self.haproxy("stub haproxy", self.stub_port + 2, self.stub_port),
            "stub sluice": lambda: self.sluice("stub sluice", self.stub_port),
        }

    def get(self, name):
        """The contender of that name, with the server behind it running."""
        if name not in self.ready:
            if name not in ("stub", "direct"):
                self.get("stub" if name.startswith("stub ") else "direct")
            self.ready[name] = self.makers[name]()
        return self.ready[name]

    def steered(self, name):
        """The cgroup that the contender of this name steers."""
        root = next(pathlib.Path(path) for path in CGROUP_ROOTS if (pathlib.Path(path) / "cgroup.procs").exists())
        cgroup = root / f"sluice-bench-{os.getpid()}-{name.replace(' ', '-')}"
        if cgroup not in self.cgroups:
            cgroup.mkdir()
            self.cgroups.append(cgroup)
        return cgroup

    def start(self, command, name, **options):
        log = open(self.directory / f"{name}.log", "wb")
        process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, stdin=subprocess.DEVNULL, **options)
        self.processes.append(process)
        return process

    def direct(self):
        data = self.directory / "data"
        data.mkdir(mode=0o700)
        shutil.chown(data, "postgres", "postgres")
        subprocess.run(as_postgres([PG_BIN / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-locale", "-E", "UTF8", "--no-sync"]),
                       check=True, stdout=subprocess.DEVNULL)
        settings = {"port": self.base_port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off",
                    "max_connections": 700, "shared_buffers": "1GB", "autovacuum": "off"}
        flags = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        # Below the steered cgroup of the contender that is short-circuited on both sides: sockets join by the cgroup in which they are made.
        self.start(as_postgres([PG_BIN / "postgres", "-D", data, *flags]), "postgres", preexec_fn=enter(self.steered("accelerate on") / "server"))
        wait_for_port(self.base_port, "PostgreSQL")
        return Contender("direct", self.base_port, [])

    def stub(self):
        self.start([self.programs["stub"], self.stub_port], "stub")
        wait_for_port(self.stub_port, "the stub server")
        return Contender("stub", self.stub_port, [])

    def bare_relay(self, name, port, server_port):
        process = self.start([self.programs["relay"], port, server_port], name)
        wait_for_port(port, "the relay")
        return Contender(name, port, [process.pid])

    def haproxy(self, name, port, server_port):
        config = self.directory / f"{name}.cfg"
        config.write_text(f"""global
  nbthread {os.cpu_count()}
  maxconn 4000
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen pg
  bind 127.0.0.1:{port}
  server pg 127.0.0.1:{server_port}
""")
        process = self.start(["/usr/sbin/haproxy", "-db", "-f", config], name)
        wait_for_port(port, "haproxy")
        return Contender(name, port, [process.pid])

    def pgbouncer(self):
        port = self.base_port + 3
        config, users = self.directory / "pgbouncer.ini", self.directory / "users.txt"
        users.write_text('"postgres" ""\n')
        config.write_text(f"""[databases]
* = host=127.0.0.1 port={self.base_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = trust
auth_file = {users}
pool_mode = session
max_client_conn = 2000
default_pool_size = 600
server_reset_query =
ignore_startup_parameters = extra_float_digits
unix_socket_dir =
""")
        process = self.start(as_postgres(["/usr/sbin/pgbouncer", "-q", config]), "pgbouncer")
        wait_for_port(port, "pgbouncer")
        return Contender("pgbouncer", port, [process.pid])

    def sluice(self, name, server_port, durability="relaxed", accelerate="off", more_targets="", policies=None):
        """A daemon that steers its own cgroup, so that several run side by side. It runs below it, as on a host where the root is steered."""
        word = name.replace(" ", "-")
        cgroup = self.steered(name)
        config = self.directory / f"{word}.yaml"
        config.write_text(f"""version: 1
targets:
  - name: bench
    protocol: postgres
    addresses: ["127.0.0.1:{server_port}"]
    accelerate: {accelerate}
{more_targets}state_directory: {self.directory}/{word}
audit: {{directory: {self.directory}/{word}/audit, durability: {durability}}}
control: {{socket: {self.directory}/{word}.sock}}
steering: {{bpf_directory: /sys/fs/bpf/sluice-bench-{os.getpid()}-{word}, cgroup: {cgroup}}}
{f"policies: {policies}" if policies else ""}
""")
        process = self.start([self.programs["sluice"], "run", "--config", config], word, preexec_fn=enter(cgroup / "daemon"))
        self.sluices.append(config)
        deadline = time.monotonic() + READY_SECONDS
        while subprocess.run([self.programs["sluice"], "status", "--config", config], capture_output=True).returncode != 0:
            if time.monotonic() > deadline or process.poll() is not None:
                raise SystemExit("bench: Sluice does not come up:\n" + (self.directory / f"{word}.log").read_text())
            time.sleep(0.05)
        return Contender(name, server_port, [process.pid], cgroup)

    def grown(self):
        """Sluice with many targets and rules of which none concerns the traffic, and many sessions beside it that do nothing."""
        self.get("stub")
        policies = self.directory / "grown-policies"
        policies.mkdir()
        rules = "".join(f"  - {{name: r{i}, when: {{target: bench, statement: [drop], tables: [public.t{i}]}}, then: block, because: b}}\n"
                        for i in range(RULES_GROWN))
        (policies / "many.yaml").write_text("version: 1\nrules:\n" + rules)
        targets = f"  - {{name: idle, protocol: postgres, addresses: ['127.0.0.1:{self.stub_port}']}}\n" + "".join(
            f"  - {{name: t{i}, protocol: postgres, addresses: ['10.{i >> 16}.{i >> 8 & 255}.{i & 255}:5432']}}\n" for i in range(TARGETS_GROWN))
        grown = self.sluice("grown", self.base_port, more_targets=targets, policies=policies)
        idle = dataclasses.replace(grown, port=self.stub_port)
        self.clients.append(idle_sessions(idle, GROWN_SESSIONS))
        return grown

    def close(self):
        """Ends everything. A second call does nothing."""
        for client in self.clients:
            client.kill()
            client.wait()
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for config in self.sluices:
            subprocess.run([self.programs["sluice"], "unload", "--config", config], capture_output=True, check=False)
        for cgroup in self.cgroups:
            for group in [*(path for path in cgroup.iterdir() if path.is_dir()), cgroup]:
                with contextlib.suppress(OSError):
                    group.rmdir()
        for ended in (self.clients, self.processes, self.sluices, self.cgroups, self.ready):
            ended.clear()


def cpu_seconds(pids):
    """User and system time of processes with all their threads, in seconds."""
    ticks = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes(pids):
    total = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) * 1024
    return total


def have_postgres_user():
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        return False
    return True
