"""The driver programs in tests/clients: how each is started, what it checks, and what it reported.

A program prints one line for each check. A check that the program does not report fails, so a program cannot leave one out."""
import os
import subprocess

import parts
import pytest

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


def jdbc():
    folder = parts.part("jdbc")
    return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-cp", f"{folder}/postgresql-42.7.7.jar:{folder}/classes", "Client"], {}


def node():
    return ["node", parts.SOURCES / "node/client.js"], {"NODE_PATH": str(parts.part("node") / "node_modules")}


def pgx():
    return [parts.part("pgx") / "client"], {}


def tokio_postgres():
    return [parts.part("tokio_postgres") / "client"], {}


def asyncpg_debian():
    pytest.importorskip("asyncpg", reason="python3-asyncpg is not installed (scripts/setup installs it)")
    return ["/usr/bin/python3", parts.SOURCES / "python/asyncpg_client.py"], {}


def asyncpg_newest():
    return ["/usr/bin/python3", parts.SOURCES / "python/asyncpg_client.py"], {"PYTHONPATH": str(parts.part("asyncpg_0_32") / "packages")}


def psycopg_newest():
    """With libpq 18 in its package; speaks protocol 3.0 unless it is told otherwise."""
    return ["/usr/bin/python3", parts.SOURCES / "python/psycopg_client.py"], {"PYTHONPATH": str(parts.part("psycopg_3_3") / "packages")}


def psycopg_protocol_3_2():
    command, environment = psycopg_newest()
    return command, {**environment, "CONNINFO": "min_protocol_version=3.2 max_protocol_version=3.2", "PROTOCOL": "30002"}


# driver → (its command, its checks)
DRIVERS = {
    "asyncpg_debian": (asyncpg_debian, [*COMMON, "pool", "rows"]),
    "asyncpg_newest": (asyncpg_newest, [*COMMON, "pool", "rows"]),
    "jdbc": (jdbc, [*COMMON, "prepared_at_once", "prepared_binary", "never_prepared", "text_only", "cached_everything", "blocked_prepared",
                    "blocked_simple", "autosave", "pipeline_rewritten", "metadata"]),
    "node": (node, [*COMMON, "pipelined", "pool"]),
    "pgx": (pgx, [*COMMON, "described", "described_each", "unprepared", "pool"]),
    "psycopg_newest": (psycopg_newest, [*COMMON, "protocol"]),
    "psycopg_protocol_3_2": (psycopg_protocol_3_2, [*COMMON, "protocol"]),
    "tokio_postgres": (tokio_postgres, [*COMMON, "rows"]),
}


def cases(names, extended):
    """Parameters (driver, check) for tests; marked extended where a bare Debian 12 does not have the driver."""
    marks = [pytest.mark.extended] if extended else []
    return [pytest.param(name, check, marks=marks) for name in names for check in DRIVERS[name][1]]


class Reports:
    """What the programs report through one daemon; each runs once, when it is first asked for."""

    def __init__(self, daemon, port):
        self.daemon, self.port, self.known = daemon, port, {}

    def of(self, driver):
        if driver not in self.known:
            command, environment = DRIVERS[driver][0]()
            try:
                ended = self.daemon.run([*command, "127.0.0.1", str(self.port)], env={**os.environ, **environment}, timeout=PROGRAM_SECONDS_MAX)
                lines, rest = ended.stdout.splitlines(), f"status {ended.returncode}: {ended.stderr[-2000:]}"
            except subprocess.TimeoutExpired as late:
                lines, rest = (late.stdout or b"").decode().splitlines(), f"not done within {PROGRAM_SECONDS_MAX} s"
            words = [line.split(" ", 2) for line in lines]
            outcomes = {word[1]: None if word[0] == "ok" else " ".join(word[2:]) or "failed" for word in words if word[0] in ("ok", "FAIL")}
            self.known[driver] = outcomes, rest
        return self.known[driver]

    def assert_ok(self, driver, check):
        outcomes, rest = self.of(driver)
        assert check in outcomes, f"the program did not report it: {rest}"
        assert outcomes[check] is None, outcomes[check]
