"""What the benchmark measures: each workload with its contenders, and how one round of one contender is measured.

A measurement returns {"rate": what the table shows, "cpu_us": proxy CPU per unit of work in µs, 0 where it says nothing} and more where it has more.
"""
import dataclasses
import os
import pathlib
import re
import socket
import subprocess
import time
from collections.abc import Callable

import contenders as lab_module
from raw_client import first_row_us, idle_sessions

IDLE_SESSIONS = 400
BULK_ROWS = 2_400_000  # × about 104 bytes of COPY text: 250 MB
CONNECT_BATCHES = 60
CLIENT_SCRIPT = "SELECT 1;\n"  # what the stub server is asked: it answers everything alike


def pgbench(contender, seconds, clients, *flags, script=None):
    """One pgbench run. Transactions per second, mean latency in µs, and proxy CPU in µs per transaction."""
    what = ["-S"] if script is None else ["-f", script]
    command = [lab_module.PG_BIN / "pgbench", "-n", "-h", "127.0.0.1", "-p", contender.port, "-U", "postgres", *what, "-c", clients,
               "-j", min(clients, os.cpu_count()), "-T", seconds, *flags, "postgres"]
    before = lab_module.cpu_seconds(contender.pids)
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, preexec_fn=contender.preexec, timeout=seconds * 10 + 60)
    cpu = lab_module.cpu_seconds(contender.pids) - before
    if run.returncode != 0:
        raise SystemExit(f"bench: pgbench through {contender.name} failed:\n{run.stderr}")
    transactions = int(re.search(r"actually processed: (\d+)", run.stdout).group(1))
    tps = float(re.search(r"^tps = ([\d.]+)", run.stdout, re.M).group(1))
    latency = float(re.search(r"latency average = ([\d.]+) ms", run.stdout).group(1)) * 1000
    return {"rate": tps, "latency_us": latency, "cpu_us": cpu * 1e6 / max(transactions, 1)}


def median_latency(contender, seconds):
    """One client, prepared. The median latency of a transaction in µs, from pgbench's own log of each."""
    with lab_module.scratch() as directory:
        measured = pgbench(contender, seconds, 1, "-M", "prepared", "-l", f"--log-prefix={directory}/latency")
        times = sorted(int(line.split()[2]) for path in pathlib.Path(directory).glob("latency*") for line in path.read_text().splitlines())
    return {**measured, "rate": times[len(times) // 2]}


def connects(contender, seconds):
    """Log in, one statement, log out, again and again. Connects per second and CPU per connect."""
    with lab_module.scratch() as directory:
        script = pathlib.Path(directory) / "one.sql"
        script.write_text(CLIENT_SCRIPT)
        return pgbench(contender, seconds, 8, "-C", script=script)


def bulk(contender, statement):
    """A bulk result to psql, which throws it away. MB/s, wall seconds and proxy CPU in µs."""
    command = [lab_module.PG_BIN / "psql", "-X", "-q", "-A", "-t", "-v", "FETCH_COUNT=5000", "-h", "127.0.0.1", "-p", str(contender.port), "-U",
               "postgres", "-c", statement, "postgres"]
    before = lab_module.cpu_seconds(contender.pids)
    started = time.monotonic()
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, preexec_fn=contender.preexec) as process:
        received = 0
        while chunk := process.stdout.read1(1 << 20):
            received += len(chunk)
    wall = time.monotonic() - started
    if process.returncode != 0:
        raise SystemExit(f"bench: {statement} through {contender.name} failed")
    cpu = lab_module.cpu_seconds(contender.pids) - before
    return {"rate": received / wall / 1e6, "wall_s": wall, "cpu_us": cpu * 1e6}


def idle_memory(contender):
    """Resident bytes that IDLE_SESSIONS authenticated, idle sessions add to the proxy, per session."""
    before = lab_module.resident_bytes(contender.pids)
    with idle_sessions(contender, IDLE_SESSIONS) as client:
        time.sleep(0.5)
        grown = lab_module.resident_bytes(contender.pids) - before
        client.stdin.close()
    return {"rate": grown / IDLE_SESSIONS, "cpu_us": 0}


def first_row(contender):
    """Time from sending a SELECT of 250 MB to its first row, in µs; the rest is not waited for. Any row may be the first: a scan joins
    another one of the same table where that one is."""
    return {"rate": first_row_us(contender, "SELECT * FROM bulk", "customer number "), "cpu_us": 0}


def connect_cost(contender, program):
    """connect() to an address that is no target, in ns, from the contender's cgroup."""
    with socket.socket() as probe:  # a port where nothing listens
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run = subprocess.run([program, str(port), str(CONNECT_BATCHES)], capture_output=True, text=True, preexec_fn=contender.preexec, check=True)
    return {"rate": float(run.stdout), "cpu_us": 0}


@dataclasses.dataclass
class Workload:
    title: str
    unit: str
    rounds: int
    contenders: list  # by name, see contenders.Lab
    measure: Callable
    bulk_table: bool = False
    less_is_better: bool = False


PROXIES = ["direct", "relay", "haproxy", "pgbouncer", "sluice"]
STUB = ["stub", "stub relay", "stub haproxy", "stub sluice"]


def workloads(options):
    """All of them, in the order in which they run."""
    seconds, rounds = options.seconds, options.rounds

    def prepared(clients):
        return lambda c: pgbench(c, seconds, clients, "-M", "prepared")

    return {
        # First, and once: memory that an earlier run has left with the allocator would be reused and hide the growth.
        "idle": Workload(f"memory per idle session ({IDLE_SESSIONS} sessions)", "bytes", 1, PROXIES[1:], idle_memory, less_is_better=True),
        "select_8": Workload("pgbench -S -M prepared, 8 clients", "tps", rounds, PROXIES, prepared(8)),
        "select_1": Workload("pgbench -S -M prepared, 1 client, median latency", "µs", rounds, PROXIES, lambda c: median_latency(c, seconds),
                             less_is_better=True),
        "accelerate": Workload("pgbench -S -M prepared, 8 clients, accelerate", "tps", rounds,
                               ["relay", "haproxy", "sluice", "accelerate auto", "accelerate on"], prepared(8)),
        "strict": Workload("pgbench -S -M prepared, 64 clients, durability", "tps", rounds, ["relay", "haproxy", "sluice", "strict"], prepared(64)),
        "grown": Workload(f"8 clients beside 10,000 targets, 10,000 rules and {lab_module.GROWN_SESSIONS:,} idle sessions", "tps", rounds, ["sluice", "grown"],
                          prepared(8)),
        "connects": Workload("connects per second to a stub server, 8 clients", "connects/s", rounds, STUB, lambda c: connects(c, seconds)),
        "no_target": Workload("connect() to what is no target", "ns", rounds, ["direct", "sluice"], lambda c: connect_cost(c, options.connect_cost),
                              less_is_better=True),
        "first_row": Workload("time to the first row of 250 MB", "µs", rounds, PROXIES, first_row, bulk_table=True, less_is_better=True),
        "copy": Workload("COPY out, 250 MB, a card number in each row", "MB/s", rounds, PROXIES, lambda c: bulk(c, "COPY bulk TO STDOUT"),
                         bulk_table=True),
        "select_bulk": Workload("SELECT by cursor, 250 MB, a card number in each row", "MB/s", rounds, PROXIES,
                                lambda c: bulk(c, "SELECT * FROM bulk"), bulk_table=True),
    }
