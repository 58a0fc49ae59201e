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
import time

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


class Lab:
    """Owns a scratch directory and every process; close() ends them all."""

    def __init__(self, directory, binary, relay, base_port):
        self.directory = pathlib.Path(directory)
        self.binary, self.relay, self.base_port = binary, relay, base_port
        self.processes = []
        self.cgroup = None
        self.directory.chmod(0o755)

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
        self.start(as_postgres([PG_BIN / "postgres", "-D", data, *flags]), "postgres")
        wait_for_port(self.base_port, "PostgreSQL")
        return Contender("direct", self.base_port, [])

    def bare_relay(self):
        port = self.base_port + 1
        process = self.start([self.relay, port, self.base_port], "relay")
        wait_for_port(port, "the relay")
        return Contender("relay", port, [process.pid])

    def haproxy(self):
        port = self.base_port + 2
        config = self.directory / "haproxy.cfg"
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
  server pg 127.0.0.1:{self.base_port}
""")
        process = self.start(["/usr/sbin/haproxy", "-db", "-f", config], "haproxy")
        wait_for_port(port, "haproxy")
        return Contender("haproxy", port, [process.pid])

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

    def sluice(self, durability="relaxed", accelerate="off", name="sluice"):
        root = next(pathlib.Path(path) for path in CGROUP_ROOTS if (pathlib.Path(path) / "cgroup.procs").exists())
        self.cgroup = root / f"sluice-bench-{os.getpid()}"
        self.cgroup.mkdir(exist_ok=True)
        config = self.directory / f"{name}.yaml"
        config.write_text(f"""version: 1
targets:
  - name: bench
    protocol: postgres
    addresses: ["127.0.0.1:{self.base_port}"]
    accelerate: {accelerate}
state_directory: {self.directory}/{name}
audit: {{directory: {self.directory}/{name}/audit, durability: {durability}}}
control: {{socket: {self.directory}/{name}.sock}}
steering: {{bpf_directory: /sys/fs/bpf/sluice-bench-{os.getpid()}, cgroup: {self.cgroup}}}
""")
        process = self.start([self.binary, "run", "--config", config], name)
        deadline = time.monotonic() + READY_SECONDS
        while subprocess.run([self.binary, "status", "--config", config], capture_output=True).returncode != 0:
            if time.monotonic() > deadline or process.poll() is not None:
                raise SystemExit("bench: Sluice does not come up:\n" + (self.directory / f"{name}.log").read_text())
            time.sleep(0.05)
        self.sluice_config = config
        return Contender("sluice", self.base_port, [process.pid], self.cgroup)

    def close(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.cgroup is not None:
            subprocess.run([self.binary, "unload", "--config", self.sluice_config], capture_output=True, check=False)
            with contextlib.suppress(OSError):
                self.cgroup.rmdir()


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
