"""Drivers of other languages, unchanged: one program for each (tests/clients/<language>), run once under steering; each of its checks is
one test here. A check that the program does not report fails, so a program cannot leave one out."""
import os
import subprocess

import parts
import pytest
from conftest import target_of
from daemon import Daemon

CLIENTS = parts.SOURCES
POLICY = """version: 1
rules:
  - name: no-truncate
    when: {statement: truncate}
    then: block
    because: Tables are emptied by the retention job alone.
"""
PROGRAM_SECONDS_MAX = 300
COMMON = ["prepared", "simple", "blocked", "blocked_in_transaction", "copy_text", "copy_binary", "pipeline", "cursor", "cancel", "notifications",
          "large_object", "errors"]


def jdbc(host, port):
    folder = parts.part("jdbc")
    flags = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"]
    return ["java", *flags, "-cp", f"{folder}/postgresql-42.7.7.jar:{folder}/classes", "Client", host, port], {}


def node(host, port):
    return ["node", CLIENTS / "node/client.js", host, port], {"NODE_PATH": str(parts.part("node") / "node_modules")}


def pgx(host, port):
    return [parts.part("pgx") / "client", host, port], {}


def tokio_postgres(host, port):
    return [parts.part("tokio_postgres") / "client", host, port], {}


def asyncpg_debian(host, port):
    pytest.importorskip("asyncpg", reason="python3-asyncpg is not installed (scripts/setup installs it)")
    return ["/usr/bin/python3", CLIENTS / "python/asyncpg_client.py", host, port], {}


def asyncpg_newest(host, port):
    return ["/usr/bin/python3", CLIENTS / "python/asyncpg_client.py", host, port], {"PYTHONPATH": str(parts.part("asyncpg_0_32") / "packages")}


# driver → (its command, its checks)
PLAIN = {"asyncpg_debian": (asyncpg_debian, [*COMMON, "pool", "rows"])}
EXTENDED = {
    "asyncpg_newest": (asyncpg_newest, [*COMMON, "pool", "rows"]),
    "jdbc": (jdbc, [*COMMON, "prepared_at_once", "prepared_binary", "never_prepared", "text_only", "cached_everything", "blocked_prepared",
                    "blocked_simple", "autosave", "pipeline_rewritten", "metadata"]),
    "node": (node, [*COMMON, "pipelined", "pool"]),
    "pgx": (pgx, [*COMMON, "described", "described_each", "unprepared", "pool"]),
    "tokio_postgres": (tokio_postgres, [*COMMON, "rows"]),
}
CASES = [(driver, check) for driver, (_, checks) in PLAIN.items() for check in checks]
CASES += [pytest.param(driver, check, marks=pytest.mark.extended) for driver, (_, checks) in EXTENDED.items() for check in checks]


@pytest.fixture(scope="module")
def report(postgres, tmp_path_factory):
    """report(driver) → {check: None, or why it failed}; the program runs when it is first asked for."""
    daemon = Daemon(tmp_path_factory.mktemp("drivers") / "run", [target_of(postgres)], POLICY, durability="relaxed").start()
    reports = {}

    def run(driver):
        if driver not in reports:
            command, environment = {**PLAIN, **EXTENDED}[driver][0]("127.0.0.1", str(postgres.port))
            try:
                ended = daemon.run(command, env={**os.environ, **environment}, timeout=PROGRAM_SECONDS_MAX)
                lines, rest = ended.stdout.splitlines(), f"status {ended.returncode}: {ended.stderr[-2000:]}"
            except subprocess.TimeoutExpired as late:
                lines, rest = (late.stdout or b"").decode().splitlines(), f"not done within {PROGRAM_SECONDS_MAX} s"
            words = [line.split(" ", 2) for line in lines]
            reports[driver] = {word[1]: None if word[0] == "ok" else " ".join(word[2:]) or "failed" for word in words if word[0] in ("ok", "FAIL")}
            reports[driver][None] = rest
        return reports[driver]

    yield run
    daemon.close()


@pytest.mark.parametrize("driver, check", CASES)
def test_driver(report, driver, check):
    outcome = report(driver)
    assert check in outcome, f"the program did not report it: {outcome[None]}"
    assert outcome[check] is None, outcome[check]
