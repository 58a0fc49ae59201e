"""What scripts/lib/test_parts.sh has fetched and built for the extended tests. A part that could not be had skips the tests that need
it, with the reason that the script wrote down."""
import os
import pathlib

import pytest

SOURCES = pathlib.Path(__file__).resolve().parents[1] / "clients"


def cache():
    """Where the parts are; the same choice as in scripts/lib/test_parts.sh."""
    if os.environ.get("SLUICE_TEST_CACHE"):
        return pathlib.Path(os.environ["SLUICE_TEST_CACHE"])
    if os.geteuid() == 0:
        return pathlib.Path("/var/cache/sluice-tests")
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "sluice-tests"


def part(name):
    """The folder of a part; skips the test where there is none."""
    folder = cache() / name
    if (folder / "ready").exists():
        return folder.resolve()
    why = folder / "why"
    pytest.skip(f"{name}: {why.read_text().strip() if why.exists() else 'not made; scripts/lib/test_parts.sh makes it'}")
