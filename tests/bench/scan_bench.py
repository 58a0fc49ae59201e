#!/usr/bin/env python3
"""`sluice scan` over a tree of mixed text beside only reading it with as many threads, both from the page cache, in turns.

Prints the rate of each (best of the rounds) and their ratio; with --json one object. The tree is made here, seeded: logs, CSV, JSON,
source text and prose, from 1 kB to 8 MB a file, one file in a hundred with card numbers.
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

def luhn(digits):
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 if index % 2 else 2)
        total += value - 9 if value > 9 else value
    return digits + str(-total % 10)


def line(kind, rng):
    if kind == "log":
        return f"2025-11-{rng.randrange(1, 29):02d}T12:{rng.randrange(60):02d}:07.{rng.randrange(1000):03d}Z INFO worker-{rng.randrange(16)} request {rng.getrandbits(48):012x} took {rng.randrange(900)} ms\n"
    if kind == "csv":
        return f"{rng.randrange(10 ** 6)},2025-12-{rng.randrange(1, 29):02d},shipped,{rng.randrange(10 ** 5) / 100:.2f},invoice {rng.randrange(10 ** 6)},Jane Doe,Berlin,EUR\n"
    if kind == "json":
        return json.dumps({"id": rng.randrange(10 ** 12), "at": 1700000000000 + rng.randrange(10 ** 9), "name": "somebody", "ok": True}) + "\n"
    if kind == "code":
        return f"    if (value_{rng.randrange(100)} > {rng.randrange(1000)}) return fail(\"too large\");  // see section {rng.randrange(9)}\n"
    return "The quick brown fox jumps over the lazy dog, and nobody minds at all. "


def make_tree(root, megabytes):
    rng = random.Random(5)
    blocks = {}
    for kind in ("log", "csv", "json", "code", "prose"):
        text = "".join(line(kind, rng) for _ in range(12000))
        blocks[kind] = text.encode()
    total = files = 0
    while total < megabytes * 10 ** 6:
        kind = rng.choice(list(blocks))
        size = int(min(8e6, rng.paretovariate(0.7) * 1000))
        block = blocks[kind]
        content = (block * (size // len(block) + 1))[:size]
        if rng.random() < 0.01:
            content += ("\n" + luhn("4" + "".join(rng.choice("0123456789") for _ in range(14))) + "\n").encode()
        path = root / f"d{files % 40}" / f"{kind}-{files}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        total += len(content)
        files += 1
    return total, files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="build/sluice")
    parser.add_argument("--reader", default="build/tests/bench/sluice_read_tree")
    parser.add_argument("--megabytes", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="sluice-scan-bench-") as place:
        root = pathlib.Path(place)
        total, files = make_tree(root, options.megabytes)

        def timed(command, statuses):
            started = time.monotonic()
            status = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode
            elapsed = time.monotonic() - started
            if status not in statuses:
                sys.exit(f"scan_bench: {command[0]} ended with {status}")
            return elapsed

        read, scan = [], []
        for _ in range(options.rounds):
            read.append(timed([options.reader, str(threads), str(root)], {0}))
            scan.append(timed([options.binary, "scan", str(root)], {1}))
    row = {"files": files, "bytes": total, "threads": threads, "read_gb_per_s": round(total / min(read) / 1e9, 2),
           "scan_gb_per_s": round(total / min(scan) / 1e9, 2), "ratio": round(min(read) / min(scan), 2)}
    if options.json:
        print(json.dumps(row))
    else:
        print(f"{files} files, {total / 1e6:.0f} MB, {threads} threads: only reading {row['read_gb_per_s']} GB/s, "
              f"sluice scan {row['scan_gb_per_s']} GB/s, ratio {row['ratio']} (at least 0.5)")


if __name__ == "__main__":
    main()
