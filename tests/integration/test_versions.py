"""PostgreSQL 17 and 18 behind the same daemon: what the drivers check on 15 they check here too, and the versions of the protocol."""
import os
import subprocess

import drivers
import parts
import pytest
from conftest import target_of
from daemon import Daemon
from database import MASKED, PAN, Database

pytestmark = [pytest.mark.extended, pytest.mark.slow]
SERVERS = {"17": "postgres_17", "18": "postgres_18"}
EVERYWHERE = ["psycopg_newest", "asyncpg_newest", "jdbc", "node", "pgx", "tokio_postgres"]
CASES = [pytest.param(server, *case.values) for server in SERVERS for case in drivers.cases(EVERYWHERE, True)]
CASES += [pytest.param("18", *case.values) for case in drivers.cases(["psycopg_protocol_3_2"], True)]


class Server:
    def __init__(self, directory, binaries):
        self.database = Database(directory, binaries=binaries)
        self.database.start()
        self.daemon = Daemon(directory / "sluice", [target_of(self.database)], drivers.POLICY, durability="relaxed").start()
        self.reports = drivers.Reports(self.daemon, self.database.port)

    def connect_with(self, options, steered):
        """What psycopg with libpq 18 says to a connection with these options: its protocol version, or its error."""
        (python, _), environment = drivers.psycopg_newest()
        program = "import sys, psycopg; print(psycopg.connect(sys.argv[1]).pgconn.full_protocol_version)"
        command = [python, "-c", program, f"host=127.0.0.1 port={self.database.port} user=postgres dbname=postgres {options}"]
        if steered:
            ended = self.daemon.run(command, env={**os.environ, **environment})
        else:
            ended = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False)
        return ended.stdout.strip() or ended.stderr.strip().splitlines()[-1]

    def close(self):
        try:
            self.daemon.close()
        finally:
            self.database.stop()


@pytest.fixture(scope="module")
def server_of(tmp_path_factory):
    servers = {}

    def make(version):
        if version not in servers:
            binaries = parts.part(SERVERS[version]) / "bin"
            directory = tmp_path_factory.mktemp(f"postgres{version}")
            for parent in [directory, *directory.parents][:4]:
                parent.chmod(parent.stat().st_mode | 0o055)
            servers[version] = Server(directory, binaries)
        return servers[version]

    yield make
    for server in servers.values():
        server.close()


@pytest.mark.parametrize("version", SERVERS)
def test_it_is_that_version(server_of, version):
    server = server_of(version)
    assert server.database.psql("show server_version").startswith(f"{version}.")
    command = ["psql", "-X", "-A", "-t", "-h", "127.0.0.1", "-p", server.database.port, "-U", "postgres", "-c", "table cards", "postgres"]
    run = server.daemon.run(command)
    assert MASKED in run.stdout and PAN not in run.stdout, run.stderr


@pytest.mark.parametrize("version, driver, check", CASES)
def test_driver(server_of, version, driver, check):
    server_of(version).reports.assert_ok(driver, check)


@pytest.mark.parametrize("version", SERVERS)
@pytest.mark.parametrize("options", ["", "max_protocol_version=3.2", "min_protocol_version=3.2 max_protocol_version=3.2",
                                     "max_protocol_version=latest"])
def test_protocol_versions_are_agreed_on_as_directly(server_of, version, options):
    server = server_of(version)
    direct, through = server.connect_with(options, steered=False), server.connect_with(options, steered=True)
    assert through == direct
    if not options:
        assert direct == "30000"
    elif options.startswith("max_protocol_version=3.2"):
        assert direct == {"17": "30000", "18": "30002"}[version]
