"""Runs PostgreSQL's own test suites against a server, directly or through Sluice, and compares the two.

What counts is that both runs say the same, not that they pass: Debian's server and the suite's sources may be a minor version apart, and
what a suite expects depends on locale and settings. So the results are compared with each other, file by file and line by line.
"""
import contextlib
import difflib
import os
import pathlib
import shutil
import subprocess

from database import PG_BIN, Database

PROGRAMS = PG_BIN.parent / "lib/pgxs/src/test"
SCHEDULES = {"regress": (PROGRAMS / "regress/pg_regress", "parallel_schedule"),
             "isolation": (PROGRAMS / "isolation/pg_isolation_regress", "isolation_schedule")}
RUN_SECONDS_MAX = 1200
SETTINGS = {"log_statement": "none", "max_connections": 60, "shared_buffers": "256MB"}


def owned(path):
    """The server and the suites run as postgres; both write here."""
    path.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        shutil.chown(path, "postgres", "postgres")
    path.chmod(0o755)
    return path


@contextlib.contextmanager
def cluster(directory):
    database = Database(owned(directory), settings=SETTINGS)
    try:
        database.start_empty()
        yield database
    finally:
        database.stop()
        shutil.rmtree(directory, ignore_errors=True)


def run_schedule(suite, name, directory, steered=None, afterwards=None):
    """One run of a whole schedule (`regress` or `isolation`) in a cluster of its own. suite: the folder of the part server_suite.
    steered(database): a context in which connections are covered; None for a direct run. afterwards(database) is called while the
    server still runs, in that context. The folder of the output has the same name in every run, because tests print it. Returns {file in results: its text}, and what the runner said."""
    program, schedule = SCHEDULES[name]
    home = owned(directory)
    shutil.rmtree(home / "out", ignore_errors=True)
    out = owned(home / "out")
    with cluster(home / "cluster") as database:
        command = [program, f"--inputdir={suite / name}", f"--outputdir={out}", f"--bindir={PG_BIN}", f"--dlpath={suite / 'lib'}", "--host=127.0.0.1",
                   f"--port={database.port}", "--user=postgres", "--max-connections=20", f"--schedule={suite / name / schedule}"]
        with steered(database) if steered else contextlib.nullcontext():
            run = subprocess.run(database.as_owner(*command), cwd=out, capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False,
                                 env={"PATH": os.environ["PATH"], "HOME": str(out)})
            if afterwards:
                afterwards(database)
    files = [path for path in sorted((out / "results").iterdir()) if path.is_file()]
    return {path.name: path.read_text(encoding="latin-1") for path in files}, run.stdout + run.stderr


def differences(direct, through):
    """[(file, line of the direct run, line through Sluice)]; a file that one run alone has is one entry, with None for the other."""
    found = [(name, name if name in direct else None, name if name in through else None) for name in sorted(set(direct) ^ set(through))]
    for name in sorted(set(direct) & set(through)):
        one, other = direct[name].splitlines(), through[name].splitlines()
        if one == other:
            continue
        if len(one) == len(other):
            found += [(name, left, right) for left, right in zip(one, other) if left != right]
            continue
        for tag, a, b, c, d in difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
            if tag != "equal":
                width = max(b - a, d - c)
                found += [(name, *pair) for pair in zip(one[a:b] + [None] * (width - b + a), other[c:d] + [None] * (width - d + c))]
    return found


def only_masked(left, right):
    """Whether the two lines differ by digits alone, each of which became a star or another digit."""
    return (left is not None and right is not None and len(left) == len(right)
            and all(a == b or (a.isdigit() and (b == "*" or b.isdigit())) for a, b in zip(left, right)))


class Expected:
    """The differences that are right, from a file of entries: `file <name>`, `why <reason>`, then pairs of lines `- direct` and
    `+ through`, or one line `masked`: every line of that file may differ by digits that are masked, and by nothing else."""

    def __init__(self, path):
        self.pairs, self.masked, self.reasons = set(), set(), {}
        name = left = None
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            word, _, rest = line.partition(" ")
            if not line or word == "#":
                continue
            if word == "file":
                name = rest
            elif word == "why":
                self.reasons[name] = rest
            elif word == "masked":
                self.masked.add(name)
            elif word == "-":
                left = rest
            elif word == "+" and name and left is not None:
                self.pairs.add((name, left, rest))
                left = None
            else:
                raise ValueError(f"{path}:{number}: {line}")
        unexplained = ({pair[0] for pair in self.pairs} | self.masked) - set(self.reasons)
        if unexplained:
            raise ValueError(f"{path}: no reason is given for {sorted(unexplained)}")

    def explains(self, difference):
        name, left, right = difference
        if name in self.masked:
            return only_masked(left, right)
        return difference in self.pairs

    def unseen(self, found):
        """Entries that did not come up: the list is to hold nothing that is not so."""
        seen = set(found)
        return sorted(pair for pair in self.pairs if pair not in seen) + sorted(name for name in self.masked if name not in {d[0] for d in found})
