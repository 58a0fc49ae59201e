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
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import contenders as lab_module  # noqa: E402
from workloads import BULK_ROWS, workloads  # noqa: E402

RATIOS = ("haproxy", "relay", "direct", "sluice")  # what the columns of the table compare with


def prepare(port, with_bulk):
    base = ["-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]
    subprocess.run([lab_module.PG_BIN / "pgbench", *base, "-i", "-q", "-s", "10", "postgres"], check=True, capture_output=True)
    if with_bulk:
        sql = f"""create unlogged table bulk as select i as id, 'customer number ' || i as name, '4111111111111111' as pan,
                  md5(i::text) || md5((i+1)::text) as filler from generate_series(1, {BULK_ROWS}) i"""
        subprocess.run([lab_module.PG_BIN / "psql", *base, "-q", "-c", sql, "-c", "vacuum bulk", "postgres"], check=True, capture_output=True)


def run(options, chosen):
    results = {}
    programs = {"sluice": options.binary, "relay": options.relay, "stub": options.stub_server}
    with lab_module.scratch() as directory:
        lab = lab_module.Lab(directory, programs, options.port)
        try:
            if any("direct" in w.contenders or "sluice" in w.contenders for w in chosen.values()):
                lab.get("direct")
                prepare(options.port, any(w.bulk_table for w in chosen.values()))
            for key, work in chosen.items():
                everyone = [lab.get(name) for name in work.contenders]
                rows = []
                for number in range(work.rounds):
                    random.shuffle(everyone)
                    rows.append({c.name: work.measure(c) for c in everyone})
                    if sys.stderr.isatty():
                        print(f"\r{key}: round {number + 1} of {work.rounds} ", end="", file=sys.stderr, flush=True)
                results[key] = rows
        finally:
            lab.close()
    return results


def base_of(work, word):
    """The contender that others are compared with under that word: the stub workloads have their own."""
    return next((name for name in work.contenders if name in (word, f"stub {word}") or (word == "direct" and name == "stub")), None)


def summarize(results, chosen):
    """Per workload and contender: medians, and the medians of the ratios to the others in the same round."""
    summary = {}
    for key, rows in results.items():
        work = chosen[key]
        table = {}
        for name in work.contenders:
            row = {"rate": statistics.median(r[name]["rate"] for r in rows), "cpu_us": statistics.median(r[name]["cpu_us"] for r in rows)}
            if "latency_us" in rows[0][name]:
                row["latency_us"] = statistics.median(r[name]["latency_us"] for r in rows)
            for word in RATIOS:
                base = base_of(work, word)
                if base is not None and all(r[base]["rate"] for r in rows):
                    row[f"to_{word}"] = statistics.median(r[name]["rate"] / r[base]["rate"] for r in rows)
            table[name] = row
        summary[key] = {"title": work.title, "unit": work.unit, "rounds": len(rows), "less_is_better": work.less_is_better, "contenders": table}
    return summary


def print_table(summary):
    for entry in summary.values():
        better = " (less is better)" if entry["less_is_better"] else ""
        print(f"\n{entry['title']}{better}: medians of {entry['rounds']} paired rounds")
        print(f"  {'':15} {entry['unit']:>12} " + " ".join(f"{'× ' + word:>9}" for word in RATIOS) + f" {'proxy CPU µs':>13} {'latency µs':>11}")
        for name, row in entry["contenders"].items():
            cells = " ".join(f"{row[f'to_{word}']:9.2f}" if f"to_{word}" in row else f"{'-':>9}" for word in RATIOS)
            latency = f"{row['latency_us']:.0f}" if "latency_us" in row else "-"
            cpu = f"{row['cpu_us']:.1f}" if row["cpu_us"] else "-"
            print(f"  {name:15} {row['rate']:12.1f} {cells} {cpu:>13} {latency:>11}")


def print_markdown(summary):
    """The same as print_table, as docs/benchmarks.md shows it."""
    for entry in summary.values():
        words = [word for word in RATIOS[:3] if any(f"to_{word}" in row for row in entry["contenders"].values())]
        better = ", less is better" if entry["less_is_better"] else ""
        print(f"\n### {entry['title']} ({entry['rounds']} rounds{better})\n")
        print(f"| | {entry['unit']} | " + "".join(f"× {word} | " for word in words) + "proxy CPU, µs |")
        print("|---|---|" + "---|" * len(words) + "---|")
        for name, row in entry["contenders"].items():
            ratios = "".join(f"{row[f'to_{word}']:.2f} | " if f"to_{word}" in row else "– | " for word in words)
            cpu = f"{row['cpu_us']:.1f}" if row["cpu_us"] else "–"
            print(f"| {name} | {row['rate']:,.{0 if row['rate'] >= 100 else 1}f} | {ratios}{cpu} |")


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
    parser.add_argument("--only", action="append", help="one workload (may be repeated): idle, select_8, select_1, accelerate, strict, grown, connects, no_target, first_row, copy, select_bulk")
    parser.add_argument("--json", metavar="FILE", help="write medians, every round and the machine as JSON")
    parser.add_argument("--markdown", action="store_true", help="print the tables as docs/benchmarks.md shows them")
    parser.add_argument("--port", type=int, default=25500, help="first of some sixty ports (default 25500)")
    parser.add_argument("--binary", default=root / "build/sluice")
    for program in ("relay", "stub_server", "connect_cost"):
        parser.add_argument(f"--{program.replace('_', '-')}", default=root / f"build/tests/bench/sluice_{program}", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 3, 2
    if os.geteuid() != 0:
        raise SystemExit("bench: needs root (it loads eBPF programs and starts PostgreSQL as the user postgres)")
    if not lab_module.have_postgres_user():
        raise SystemExit("bench: PostgreSQL is not installed; run scripts/setup")
    every = workloads(options)
    unknown = [name for name in options.only or [] if name not in every]
    if unknown:
        raise SystemExit(f"bench: no workload {unknown[0]}; there are {', '.join(every)}")
    chosen = {key: work for key, work in every.items() if not options.only or key in options.only}
    results = run(options, chosen)
    summary = summarize(results, chosen)
    facts = machine()
    print(f"{facts['cpu']}, {facts['cores']} cores, kernel {facts['kernel']}, commit {facts['commit']}, {facts['time']}")
    (print_markdown if options.markdown else print_table)(summary)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"machine": facts, "summary": summary, "rounds": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
