"""PostgreSQL through Sluice beside the same traffic direct, through a bare relay, haproxy and pgbouncer.

Short rounds; in each round every contender runs once, in random order, so that drift of the machine hits all alike. Reported are medians,
and medians of the ratios within a round. CPU is what the proxy's own processes used, per transaction.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import contenders as lab_module  # noqa: E402

IDLE_SESSIONS = 400
BULK_ROWS = 2_400_000  # × about 104 bytes of COPY text: 250 MB


def pgbench(contender, seconds, clients, *flags):
    """One pgbench run. Returns transactions per second, mean latency in µs, and proxy CPU in µs per transaction."""
    command = [lab_module.PG_BIN / "pgbench", "-n", "-h", "127.0.0.1", "-p", contender.port, "-U", "postgres", "-S", "-c", clients,
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


def copy_out(contender):
    """COPY of the bulk table to a client that throws it away. Returns MB/s, wall seconds and proxy CPU seconds."""
    command = [lab_module.PG_BIN / "psql", "-X", "-q", "-h", "127.0.0.1", "-p", str(contender.port), "-U", "postgres", "-c",
               "COPY bulk TO STDOUT", "postgres"]
    before = lab_module.cpu_seconds(contender.pids)
    started = time.monotonic()
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, preexec_fn=contender.preexec) as process:
        received = 0
        while chunk := process.stdout.read1(1 << 20):
            received += len(chunk)
    wall = time.monotonic() - started
    if process.returncode != 0:
        raise SystemExit(f"bench: COPY through {contender.name} failed")
    cpu = lab_module.cpu_seconds(contender.pids) - before
    return {"rate": received / wall / 1e6, "wall_s": wall, "cpu_us": cpu * 1e6}


IDLE_CLIENT = r"""
import socket, struct, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
body = struct.pack("!I", 196608) + b"user\0postgres\0database\0postgres\0\0"
sessions = []
for _ in range(count):
    s = socket.create_connection(("127.0.0.1", port))
    s.sendall(struct.pack("!I", len(body) + 4) + body)
    data = b""
    while not data.endswith(b"Z\0\0\0\x05I"):
        piece = s.recv(65536)
        if not piece: sys.exit("closed during start-up")
        data += piece
    sessions.append(s)
print("ready", flush=True)
sys.stdin.read()
"""


def idle_memory(contender):
    """Resident bytes that IDLE_SESSIONS authenticated, idle sessions add to the proxy, per session."""
    before = lab_module.resident_bytes(contender.pids)
    with subprocess.Popen([sys.executable, "-c", IDLE_CLIENT, str(contender.port), str(IDLE_SESSIONS)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, preexec_fn=contender.preexec) as client:
        if client.stdout.readline() != b"ready\n":
            raise SystemExit(f"bench: idle sessions through {contender.name} failed")
        time.sleep(0.5)
        grown = lab_module.resident_bytes(contender.pids) - before
        client.stdin.close()
    return {"rate": grown / IDLE_SESSIONS, "cpu_us": 0}


def workloads(options):
    seconds = options.seconds
    return {
        # First, and once: memory that an earlier run has left with the allocator would be reused and hide the growth.
        "idle": (f"memory per idle session ({IDLE_SESSIONS} sessions)", "bytes", 1, idle_memory),
        "select_8": ("pgbench -S -M prepared, 8 clients", "tps", options.rounds, lambda c: pgbench(c, seconds, 8, "-M", "prepared")),
        "select_1": ("pgbench -S -M prepared, 1 client", "tps", options.rounds, lambda c: pgbench(c, seconds, 1, "-M", "prepared")),
        "connects": ("connects per second (pgbench -S -C, 4 clients)", "connects/s", max(options.rounds // 2, 3),
                     lambda c: pgbench(c, seconds, 4, "-C")),
        "copy": ("COPY out, 250 MB, a card number in each row", "MB/s", max(options.rounds // 3, 3), copy_out),
    }


def prepare(port, with_bulk):
    base = ["-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]
    subprocess.run([lab_module.PG_BIN / "pgbench", *base, "-i", "-q", "-s", "10", "postgres"], check=True, capture_output=True)
    if with_bulk:
        sql = f"""create unlogged table bulk as select i as id, 'customer number ' || i as name, '4111111111111111' as pan,
                  md5(i::text) || md5((i+1)::text) as filler from generate_series(1, {BULK_ROWS}) i"""
        subprocess.run([lab_module.PG_BIN / "psql", *base, "-q", "-c", sql, "-c", "vacuum bulk", "postgres"], check=True, capture_output=True)


def run(options):
    results = {}
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as directory:
        lab = lab_module.Lab(directory, options.binary, options.relay, options.port)
        try:
            everyone = [lab.direct(), lab.bare_relay(), lab.haproxy(), lab.pgbouncer(), lab.sluice()]
            chosen = {key: value for key, value in workloads(options).items() if not options.only or key in options.only}
            prepare(options.port, "copy" in chosen)
            for key, (_, _, rounds, measure) in chosen.items():
                rows = []
                for number in range(rounds):
                    order = [c for c in everyone if key != "idle" or c.pids]
                    random.shuffle(order)
                    rows.append({c.name: measure(c) for c in order})
                    if sys.stderr.isatty():
                        print(f"\r{key}: round {number + 1} of {rounds} ", end="", file=sys.stderr, flush=True)
                results[key] = rows
        finally:
            lab.close()
    return results


def summarize(results, options):
    """Per workload and contender: medians, and the medians of the ratios to haproxy, the relay and direct in the same round."""
    summary = {}
    for key, rows in results.items():
        title, unit, _, _ = workloads(options)[key]
        table = {}
        for name in rows[0]:
            row = {"rate": statistics.median(r[name]["rate"] for r in rows), "cpu_us": statistics.median(r[name]["cpu_us"] for r in rows)}
            if "latency_us" in rows[0][name]:
                row["latency_us"] = statistics.median(r[name]["latency_us"] for r in rows)
            for other in ("haproxy", "relay", "direct"):
                if other in rows[0] and all(r[other]["rate"] for r in rows):
                    row[f"to_{other}"] = statistics.median(r[name]["rate"] / r[other]["rate"] for r in rows)
            table[name] = row
        summary[key] = {"title": title, "unit": unit, "rounds": len(rows), "contenders": table}
    return summary


def print_table(summary):
    for entry in summary.values():
        print(f"\n{entry['title']}: medians of {entry['rounds']} paired rounds")
        print(f"  {'':10} {entry['unit']:>12} {'× haproxy':>10} {'× relay':>9} {'× direct':>9} {'proxy CPU µs':>13} {'latency µs':>11}")
        for name, row in entry["contenders"].items():
            cells = [f"{row[k]:.2f}" if k in row else "-" for k in ("to_haproxy", "to_relay", "to_direct")]
            latency = f"{row['latency_us']:.0f}" if "latency_us" in row else "-"
            cpu = f"{row['cpu_us']:.1f}" if row["cpu_us"] else "-"
            print(f"  {name:10} {row['rate']:12.1f} {cells[0]:>10} {cells[1]:>9} {cells[2]:>9} {cpu:>13} {latency:>11}")


def machine():
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "commit": commit,
            "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="paired rounds of the pgbench workloads (default 10)")
    parser.add_argument("--seconds", type=int, default=3, help="length of one pgbench run (default 3)")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 2 seconds")
    parser.add_argument("--only", action="append", help="one workload: select_8, select_1, connects, copy, idle (may be repeated)")
    parser.add_argument("--json", metavar="FILE", help="write medians, every round and the machine as JSON")
    parser.add_argument("--port", type=int, default=25500, help="first of four ports (default 25500)")
    parser.add_argument("--binary", default=root / "build/sluice")
    parser.add_argument("--relay", default=root / "build/tests/bench/sluice_relay")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 3, 2
    if os.geteuid() != 0:
        raise SystemExit("bench: needs root (it loads eBPF programs and starts PostgreSQL as the user postgres)")
    if not lab_module.have_postgres_user():
        raise SystemExit("bench: PostgreSQL is not installed; run scripts/setup")
    results = run(options)
    summary = summarize(results, options)
    facts = machine()
    print(f"{facts['cpu']}, {facts['cores']} cores, kernel {facts['kernel']}, commit {facts['commit']}, {facts['time']}")
    print_table(summary)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"machine": facts, "summary": summary, "rounds": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
