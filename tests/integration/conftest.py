"""Fixtures: one PostgreSQL for the whole run, a Sluice daemon per test (or per module, where tests do not disturb each other)."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from daemon import BINARY, CGROUP_ROOT, Daemon  # noqa: E402
from database import Database  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: runs with the release binary only (takes long with sanitizers, or disturbs them)")
    config.addinivalue_line("markers", "extended: needs what a bare Debian 12 does not have, or takes very long")


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0 or CGROUP_ROOT is None:
        why = "needs root" if os.geteuid() != 0 else "no cgroup v2 is mounted"
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"{why}: eBPF programs cannot be attached"))
    elif not BINARY.exists():
        raise pytest.UsageError(f"{BINARY} is missing; run scripts/build")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    database = Database(tmp_path_factory.mktemp("postgres"))
    for parent in [database.directory, *database.directory.parents][:4]:
        parent.chmod(parent.stat().st_mode | 0o055)
    try:
        database.start()
        yield database
    finally:
        database.stop()


def target_of(database, name="cards-db", **more):
    return {"name": name, "addresses": [f"127.0.0.1:{database.port}", f"[::1]:{database.port}"], **more}


@pytest.fixture
def make_daemon(postgres, tmp_path):
    """make_daemon(policies=…, durability=…, targets=…, extra=…) → a running Daemon, checked and unloaded at the end."""
    daemons = []

    def make(policies=None, targets=None, start=True, **options):
        daemon = Daemon(tmp_path / f"sluice{len(daemons)}", targets or [target_of(postgres)], policies, **options)
        daemons.append(daemon)
        return daemon.start() if start else daemon

    yield make
    failures = []
    for daemon in daemons:
        try:
            daemon.close()
        except AssertionError as error:
            failures.append(error)
    if failures:
        raise failures[0]


@pytest.fixture(scope="module")
def sluice(postgres, tmp_path_factory):
    """A daemon without policies (masking alone), shared by the tests of a module."""
    daemon = Daemon(tmp_path_factory.mktemp("sluice") / "run", [target_of(postgres)]).start()
    yield daemon
    daemon.close()
