"""Drivers of other languages, unchanged: one program for each (tests/clients/<language>), run once under steering; each of its checks is
one test here."""
import drivers
import pytest
from conftest import target_of
from daemon import Daemon

EXTENDED = ["asyncpg_newest", "psycopg_newest", "jdbc", "node", "pgx", "tokio_postgres"]


@pytest.fixture(scope="module")
def reports(postgres, tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("drivers") / "run", [target_of(postgres)], drivers.POLICY, durability="relaxed").start()
    yield drivers.Reports(daemon, postgres.port)
    daemon.close()


@pytest.mark.parametrize("driver, check", drivers.cases(["asyncpg_debian"], False) + drivers.cases(EXTENDED, True))
def test_driver(reports, driver, check):
    reports.assert_ok(driver, check)
