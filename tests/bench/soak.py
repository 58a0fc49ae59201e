"""Full load for as long as one likes, then the accounts: nothing lost, nothing left behind, nothing growing.

Beside each other, all through one Sluice with strict durability: pgbench in every query mode, sessions that come and go, COPY both ways with card numbers,
errors, blocked statements, cancels, and clients that are killed. Sampled all the while: resident memory, descriptors, sessions. At the end every session and every
command must have its events, no statement may have run without one, the log must verify, and memory and descriptors must be back.
"""
import argparse
import json
import os
import pathlib
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import contenders as lab_module  # noqa: E402
from postgres_bench import prepare  # noqa: E402

SAMPLE_SECONDS = 5
GROWTH_MAX = 1.10  # resident memory at the end over that after the first quarter
PSQL = [lab_module.PG_BIN / "psql", "-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-U", "postgres"]
POLICY = """version: 1
rules:
  - name: no-truncate
    when: {target: bench, statement: [truncate]}
    then: block
    because: The soak asks for it.
"""
SCRIPT = """create temp table t (pan text);
copy t from stdin;
4111111111111111
5500000000000004
\\.
copy t to stdout;
select 1/0;
truncate t;
begin; select pan from t; rollback;
"""


class Load:
    """Threads that run clients until they are told to stop, and count what they did."""

    def __init__(self, sluice, clients):
        self.sluice, self.stop, self.done = sluice, threading.Event(), {}
        self.simple_transactions = 0  # each is one statement, and has to be one event
        self.threads = [threading.Thread(target=self.again, args=(name, action)) for name, action in (
            *((mode, lambda mode=mode: self.pgbench(mode, clients)) for mode in ("simple", "extended", "prepared")),
            ("script", self.script), ("killed", self.killed))]

    def again(self, name, action):
        while not self.stop.is_set():
            action()
            self.done[name] = self.done.get(name, 0) + 1

    def run(self, command, **options):
        return subprocess.run(list(map(str, command)), preexec_fn=self.sluice.preexec, capture_output=True, text=True, check=False, **options)

    def pgbench(self, mode, clients):
        seconds = random.randint(1, 10)
        run = self.run([lab_module.PG_BIN / "pgbench", "-n", "-h", "127.0.0.1", "-p", self.sluice.port, "-U", "postgres", "-c", clients, "-T", seconds, "-M", mode,
                        *random.choice((["-S"], ["-S", "-C"], ["-S"] if mode == "simple" else [])), "postgres"])
        if run.returncode != 0:
            raise SystemExit(f"soak: pgbench failed:\n{run.stderr}")
        if mode == "simple":
            self.simple_transactions += int(re.search(r"actually processed: (\d+)", run.stdout).group(1))

    def script(self):
        run = self.run([*PSQL, "-p", self.sluice.port, "postgres"], input=SCRIPT)
        masked = ["411111******1111", "550000******0004"] * 2
        if run.stdout.split() != masked or "no-truncate" not in run.stderr or "division by zero" not in run.stderr:
            raise SystemExit(f"soak: unexpected answer:\n{run.stdout}{run.stderr}")

    def killed(self):
        """A client that dies in the middle of a large result."""
        with subprocess.Popen(list(map(str, [*PSQL, "-p", self.sluice.port, "-c", "select repeat('x', 1000) from generate_series(1, 1000000)", "postgres"])),
                              preexec_fn=self.sluice.preexec, stdout=subprocess.DEVNULL) as client:
            time.sleep(random.random())
            client.send_signal(signal.SIGKILL)


def account(binary, directory):
    """From the log alone: events by type, sessions that began and did not end, and pgbench's statements in simple mode."""
    by_type, sessions, statements = {}, set(), 0
    with subprocess.Popen([binary, "events", "--json", "--dir", directory], stdout=subprocess.PIPE, text=True) as reader:
        for line in reader.stdout:
            event = json.loads(line)
            kind = event["type"]
            by_type[kind] = by_type.get(kind, 0) + 1
            if kind == "session_started":
                sessions.add(event["session"])
            elif kind == "session_ended":
                sessions.discard(event["session"])
            elif kind == "command_received" and event["command"]["stage"] == "query" and event["command"]["text"].startswith("SELECT abalance"):
                statements += 1
    return by_type, sessions, statements


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--clients", type=int, default=4, help="of each pgbench (default 4)")
    parser.add_argument("--port", type=int, default=27500)
    parser.add_argument("--binary", default=root / "build/sluice")
    options = parser.parse_args()
    failures = []
    with lab_module.scratch() as directory:
        lab = lab_module.Lab(directory, {"sluice": options.binary}, options.port)
        try:
            lab.get("direct")
            prepare(options.port, with_bulk=False)
            policies = pathlib.Path(directory) / "policies"
            policies.mkdir()
            (policies / "soak.yaml").write_text(POLICY)
            sluice = lab.sluice("soak", options.port, durability="strict", policies=policies)
            config = lab.sluices[-1]
            pid, descriptors = sluice.pids[0], lambda: len(os.listdir(f"/proc/{sluice.pids[0]}/fd"))
            before = descriptors()
            load = Load(sluice, options.clients)
            for thread in load.threads:
                thread.start()
            samples, ends = [], time.monotonic() + options.minutes * 60
            while time.monotonic() < ends and all(thread.is_alive() for thread in load.threads):
                time.sleep(min(SAMPLE_SECONDS, max(0.0, ends - time.monotonic())))
                samples.append((lab_module.resident_bytes([pid]), descriptors()))
            if not all(thread.is_alive() for thread in load.threads):
                failures.append("a client ended with an error (above)")
            load.stop.set()
            for thread in load.threads:
                thread.join()
            status = None
            for _ in range(100):
                status = json.loads(subprocess.run([options.binary, "status", "--json", "--config", config], capture_output=True, check=True).stdout)
                if status["targets"][0]["sessions"] == 0:
                    break
                time.sleep(0.1)
            else:
                failures.append("sessions are left")
            if descriptors() > before + 4:
                failures.append(f"descriptors: {before} before, {descriptors()} after")
            quarter = samples[len(samples) // 4:len(samples) // 2] or samples
            early, late = (statistics.median(s[0] for s in part) for part in (quarter, samples[-max(len(samples) // 4, 1):]))
            if late > early * GROWTH_MAX:
                failures.append(f"resident memory grew from {early / 1e6:.1f} to {late / 1e6:.1f} MB")
            lab.close()
            audit = f"{directory}/soak/audit"
            by_type, sessions, statements = account(options.binary, audit)
            if sessions or by_type["session_started"] != by_type["session_ended"]:
                failures.append(f"{len(sessions)} sessions began and did not end in the log")
            if statements != load.simple_transactions:
                failures.append(f"{load.simple_transactions} statements were answered, {statements} are in the log")
            verified = subprocess.run([options.binary, "audit", "verify", "--dir", audit], capture_output=True, text=True, check=False)
            if verified.returncode != 0:
                failures.append(f"the log does not verify:\n{verified.stdout}{verified.stderr}")
            print(f"{options.minutes:g} minutes; runs of each client: {load.done}")
            print(f"events: {by_type}")
            print(f"resident memory: {early / 1e6:.1f} MB early, {late / 1e6:.1f} MB late; descriptors {before} → {samples[-1][1]} at most under load")
        finally:
            lab.close()
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
