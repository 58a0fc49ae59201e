"""PostgreSQL's own suites say the same through Sluice as directly: regression tests, isolation tests, libpq's pipeline tests.
The few lines that differ because a value looks like a card number are listed, each with its reason, in server_suite_differences.txt."""
import contextlib
import pathlib
import subprocess

import parts
import pytest
from conftest import target_of
from daemon import Daemon
from database import PG_BIN
from server_suite import Expected, cluster, differences, only_masked, run_schedule

pytestmark = [pytest.mark.extended, pytest.mark.slow]
EXPECTED = pathlib.Path(__file__).with_name("server_suite_differences.txt")
PIPELINE_ROWS = 700   # what the suite's own script asks for
DUMP_LINES_MIN = 100_000
TESTS_MIN = {"regress": 200, "isolation": 110}
PROBLEMS = "type=command_blocked or type=protocol_violation or type=limit_exceeded or type=control_failure"


@pytest.fixture(scope="module")
def suite():
    return parts.part("server_suite")


@pytest.fixture
def scratch(tmp_path):
    for parent in [tmp_path, *tmp_path.parents][:4]:
        parent.chmod(parent.stat().st_mode | 0o055)
    return tmp_path


@contextlib.contextmanager
def through_sluice(scratch, database):
    """Steered, with a policy that allows all, also what nobody understands. No event may tell of trouble."""
    daemon = Daemon(scratch / "sluice", [target_of(database)], "version: 1\ndefault: allow\n", durability="relaxed").start()
    try:
        with daemon.steered():
            yield daemon
        trouble = [(event["type"], event.get("detail")) for event in daemon.events(PROBLEMS)]
        assert not trouble, trouble[:10]
        assert daemon.coverage()["redirected"] > 0
    finally:
        daemon.close()


def assert_dumps_are_equal(database):
    """pg_dump of what the regression tests leave behind: every kind of object there is. Over the Unix socket it is not steered."""
    def dump(host):
        command = [PG_BIN / "pg_dump", "-h", host, "-p", str(database.port), "-U", "postgres", "regression"]
        run = subprocess.run(command, capture_output=True, text=True, encoding="latin-1", timeout=300, check=False)
        assert run.returncode == 0, run.stderr
        # The key of \restrict is random.
        return "\n".join(line for line in run.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))

    direct, through = dump(database.sockets), dump("127.0.0.1")
    assert direct.count("\n") > DUMP_LINES_MIN
    wrong = [pair for pair in differences({"dump": direct}, {"dump": through}) if not only_masked(*pair[1:])]
    assert not wrong, wrong[:10]


@pytest.mark.parametrize("name", ["regress", "isolation"])
def test_same_results(suite, scratch, name):
    direct, said = run_schedule(suite, name, scratch / name)
    assert len([file for file in direct if file.endswith(".out")]) >= TESTS_MIN[name], said[-4000:]
    through, said = run_schedule(suite, name, scratch / name, lambda database: through_sluice(scratch, database),
                                 assert_dumps_are_equal if name == "regress" else None)
    found = differences(direct, through)
    expected = Expected(EXPECTED)
    wrong = [difference for difference in found if not expected.explains(difference)]
    assert not wrong, "\n".join(f"{file}\n  - {left}\n  + {right}" for file, left, right in wrong[:50]) + "\n" + said[-2000:]
    if name == "regress":
        assert not expected.unseen(found), "server_suite_differences.txt lists what does not differ"


def test_libpq_pipeline(suite, scratch):
    """Each test of libpq's pipeline mode, with the trace of every message in both directions."""
    program = suite / "lib/libpq_pipeline"
    names = subprocess.run([program, "tests"], check=True, capture_output=True, text=True).stdout.split()
    assert len(names) >= 10

    def run(database, name, trace):
        trace.unlink(missing_ok=True)
        connection = f"host=127.0.0.1 port={database.port} user=postgres dbname=postgres"
        ended = subprocess.run([program, "-r", str(PIPELINE_ROWS), "-t", trace, name, connection], capture_output=True, text=True, timeout=120,
                               check=False)
        # In these two the program sends while it reads, so what it prints and the order in the trace depend on the moment, directly too.
        if name in ("pipelined_insert", "uniqviol"):
            return ended.returncode, ended.stderr.strip().endswith("ok")
        return ended.returncode, ended.stdout, ended.stderr, trace.read_text()

    with cluster(scratch / "direct") as database:
        direct = {name: run(database, name, scratch / "trace") for name in names}
    with cluster(scratch / "through") as database, through_sluice(scratch, database):
        through = {name: run(database, name, scratch / "trace") for name in names}
    for name in names:
        assert direct[name][0] == 0, (name, direct[name])
        assert through[name] == direct[name], name
