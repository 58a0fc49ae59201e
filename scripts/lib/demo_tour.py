"""The tour that scripts/demo gives. Python standard library alone; run it through scripts/demo.

Every step states what must be seen, and the tour fails where it is not. At the end everything that was shown, the daemon's own log and
every byte of the audit directory are searched for the raw card numbers.
"""

import argparse
import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time

READY_SECONDS = 30
COMMAND_SECONDS = 60
# Published test numbers of card networks; no real card has them.
PANS = ["4111111111111111", "5555555555554444", "378282246310005", "6011111111111117"]
MASKED = ["411111******1111", "555555******4444", "378282*****0005", "601111******1117"]

POLICY = """version: 1
default: allow
rules:
  - name: no-schema-destruction
    when: {target: "cards-db", statement: [drop, truncate]}
    then: block
    because: Schema changes go through migrations.
"""


class TourFailed(Exception):
    """Something was not as the tour says."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, what):
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TourFailed(f"{what}: not within {READY_SECONDS} s")
        time.sleep(0.05)


def postgres_programs():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise TourFailed("PostgreSQL is not installed; run scripts/setup")
    return found[-1].parent


def cgroup2_root():
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        _, point, kind = line.split()[:3]
        if kind == "cgroup2":
            return pathlib.Path(point)
    return None


class Tour:
    def __init__(self, options):
        self.options = options
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-demo-"))
        self.directory.chmod(0o755)
        self.port = free_port()
        self.programs = postgres_programs()
        self.shown = []                # everything that was printed
        self.daemon = None
        self.undo = contextlib.ExitStack()
        self.pauses = sys.stdin.isatty() and sys.stdout.isatty() and not options.yes
        self.color = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    # --- what is seen -------------------------------------------------------------------------------------------------
    def say(self, text=""):
        self.shown.append(text)
        print(text, flush=True)

    def tinted(self, code, text):
        self.shown.append(text)
        print(f"\x1b[{code}m{text}\x1b[0m" if self.color else text, flush=True)

    def step(self, title, explanation):
        self.say()
        self.tinted("1", f"== {title}")
        self.say(textwrap.fill(explanation, 110))
        if self.pauses:
            input("   [Enter] ")

    def output(self, text):
        self.say(textwrap.indent(text.rstrip("\n"), "  "))

    def must(self, condition, what):
        if not condition:
            raise TourFailed(what)

    # --- what is run --------------------------------------------------------------------------------------------------
    def in_cgroup(self):
        (self.cgroup / "cgroup.procs").write_text(str(os.getpid()))

    def psql(self, sql, shown_sql=None, steered=True, user="app"):
        """An unchanged psql, SQL on its standard input. Returns (exit status, output with errors)."""
        line = f"psql -h 127.0.0.1 -p {self.port} -U {user} shop"
        if steered:
            self.tinted("36", f"  $ {line} <<< \"{shown_sql or sql}\"")
        command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", str(self.programs / "psql"), "-X", "-h", "127.0.0.1",
                   "-p", str(self.port), "-U", user, "shop"]
        run = subprocess.run(command, input=sql + "\n", text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=COMMAND_SECONDS,
                             preexec_fn=self.in_cgroup if steered else None, cwd="/",
                             env={"PATH": os.environ.get("PATH", "/usr/bin"), "LC_ALL": "C.UTF-8", "PGCONNECT_TIMEOUT": "10"})
        if steered:
            self.output(run.stdout)
        return run.returncode, run.stdout

    def sluice(self, *words, quiet=False):
        command = [self.options.binary, *words, "--config", str(self.config)]
        if not quiet:
            self.tinted("36", "  $ sluice " + " ".join(words))
        run = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=COMMAND_SECONDS)
        if not quiet:
            self.output(run.stdout)
        return run.returncode, run.stdout

    # --- setting up ---------------------------------------------------------------------------------------------------
    def start_postgres(self):
        owner = "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"
        account = pwd.getpwnam(owner)
        as_owner = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        data = self.directory / "postgres"
        data.mkdir(mode=0o700)
        os.chown(data, account.pw_uid, account.pw_gid)
        log = open(self.directory / "postgres.log", "wb")
        self.undo.callback(log.close)
        subprocess.run([*as_owner, self.programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
                       check=True, stdout=log, stderr=log, cwd="/")
        server = subprocess.Popen([*as_owner, self.programs / "postgres", "-D", data, "-c", f"port={self.port}", "-c", "listen_addresses=127.0.0.1",
                                   "-c", "unix_socket_directories=", "-c", "fsync=off"], stdout=log, stderr=log, cwd="/")
        self.undo.callback(self.stop_process, server, signal.SIGINT)

        def answers():  # it listens before it takes sessions
            if server.poll() is not None:
                raise TourFailed("PostgreSQL ended")
            ready = [self.programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
            return subprocess.run(ready, stdout=log, stderr=log).returncode == 0
        wait_until(answers, "PostgreSQL takes sessions")
        subprocess.run([self.programs / "psql", "-X", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-v", "ON_ERROR_STOP=1"],
                       input=self.schema(), text=True, check=True, stdout=log, stderr=log)

    @staticmethod
    def schema():
        names = ["Ada", "Grace", "Edsger", "Barbara"]
        rows = ", ".join(f"({i + 1}, '{name}', '{pan}', '2029-0{i + 1}-01')" for i, (name, pan) in enumerate(zip(names, PANS)))
        return f"""CREATE USER app; CREATE DATABASE shop OWNER app;
\\c shop app
CREATE TABLE cards (id int PRIMARY KEY, holder text, pan text UNIQUE, expires date);
INSERT INTO cards VALUES {rows};
"""

    def write_config(self):
        policies = self.directory / "policies"
        policies.mkdir()
        (policies / "demo.yaml").write_text(POLICY)
        self.audit = self.directory / "state" / "audit"
        self.config = self.directory / "sluice.yaml"
        self.config.write_text(f"""version: 1
targets:
  - name: cards-db
    protocol: postgres
    addresses: ["127.0.0.1:{self.port}"]
    when_down: deny
policies: {policies}
state_directory: {self.directory}/state
audit: {{directory: {self.audit}, durability: strict}}
control: {{socket: {self.directory}/control.sock}}
steering: {{bpf_directory: /sys/fs/bpf/sluice-demo-{os.getpid()}, cgroup: {self.cgroup}}}
""")

    def make_cgroup(self):
        root = cgroup2_root()
        if root is None:
            root = self.directory / "cgroup2"
            root.mkdir()
            subprocess.run(["mount", "-t", "cgroup2", "none", str(root)], check=True)
            self.undo.callback(subprocess.run, ["umount", str(root)], check=False)
        self.cgroup = root / f"sluice-demo-{os.getpid()}"
        self.cgroup.mkdir()
        self.undo.callback(self.remove_cgroup)

    def remove_cgroup(self):
        deadline = time.monotonic() + 5
        while self.cgroup.exists():  # a process that just ended may still be counted in it for a moment
            try:
                self.cgroup.rmdir()
            except OSError as error:
                if time.monotonic() > deadline:
                    print(f"demo: could not remove {self.cgroup}: {error}", file=sys.stderr)
                    return
                time.sleep(0.05)

    def start_daemon(self):
        log = open(self.directory / "sluice.log", "ab")
        self.daemon = subprocess.Popen([self.options.binary, "run", "--config", str(self.config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()

        def enforces():
            if self.daemon.poll() is not None:
                raise TourFailed("the daemon ended:\n" + (self.directory / "sluice.log").read_text())
            return self.sluice("status", quiet=True)[0] == 0
        wait_until(enforces, "the daemon")

    @staticmethod
    def stop_process(process, how=signal.SIGTERM):
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    # --- the tour -----------------------------------------------------------------------------------------------------
    def run(self):
        self.tinted("1", "Sluice: a tour on this machine")
        self.say(f"PostgreSQL with four test card numbers on port {self.port}; everything in {self.directory}, removed at the end.")
        self.make_cgroup()
        self.start_postgres()
        self.must(all(pan in self.psql("SELECT pan FROM cards", steered=False)[1] for pan in PANS),
                  "the demo database does not hold the card numbers")
        self.write_config()
        self.undo.callback(self.sluice, "unload", quiet=True)
        self.start_daemon()
        self.undo.callback(lambda: self.stop_process(self.daemon))
        try:
            self.show_masking()
            self.show_blocking()
            self.show_record()
            self.show_failing_closed()
            self.show_proof()
        finally:
            self.say()
        self.stop_process(self.daemon)
        self.search_for_raw_numbers()
        self.tinted("1;32", "Tour complete. No raw card number was shown, logged or recorded.")

    def show_masking(self):
        self.step("Masking", "The client is psql as it comes, connecting to PostgreSQL's own address and port. Sluice stands in between; "
                             "card numbers are masked in whatever comes back.")
        status, out = self.psql("SELECT id, holder, pan, expires FROM cards ORDER BY id;")
        self.must(status == 0 and all(masked in out for masked in MASKED), "SELECT did not show masked numbers")
        _, out = self.psql("COPY cards TO STDOUT;")
        self.must(all(masked in out for masked in MASKED), "COPY did not show masked numbers")
        self.say("An error message can carry a card number too:")
        _, out = self.psql("INSERT INTO cards SELECT id + 10, holder, pan, expires FROM cards WHERE id = 1;")
        self.must("duplicate key" in out and f"(pan)=({MASKED[0]})" in out, "the error's DETAIL was not masked")

    def show_blocking(self):
        self.step("Blocking", "The policy forbids DROP. The refusal is an error as the server itself would have sent it, and the session goes on.")
        _, out = self.psql("\\set VERBOSITY verbose\nDROP TABLE cards;\nSELECT count(*) AS cards_still_there FROM cards;",
                           shown_sql="DROP TABLE cards; SELECT count(*) AS cards_still_there FROM cards;")
        self.must("ERROR:  42501" in out and "no-schema-destruction" in out, "DROP was not refused as the policy says")
        self.must("cards_still_there" in out and " 4\n" in out, "the session did not go on after the refusal")
        self.say("In a transaction, a refusal aborts it, exactly as PostgreSQL's own would:")
        _, out = self.psql("BEGIN;\nTRUNCATE cards;\nSELECT 1;\nROLLBACK;", shown_sql="BEGIN; TRUNCATE cards; SELECT 1; ROLLBACK;")
        self.must("current transaction is aborted" in out and "ROLLBACK" in out, "the refusal did not abort the transaction")

    def show_record(self):
        self.step("The record", "Who did what, when, from where, with what outcome: the process is what the kernel says, not what a client claims. "
                                "Card numbers in the statement itself are masked before they are recorded.")
        self.psql(f"SELECT holder FROM cards WHERE pan = '{PANS[0]}';", shown_sql=f"SELECT holder FROM cards WHERE pan = '{MASKED[0]}';  -- sent with the real number")
        status, out = self.sluice("events", "--since", "10m", "--filter", "type=command_blocked")
        self.must(status == 0 and "DROP TABLE cards" in out, "the refusal is not in the record")
        self.must("nobody" in out and "psql[" in out, "the record does not name the calling process")
        status, out = self.sluice("events", "--since", "10m", "--filter", "type=command_received", "--json", quiet=True)
        self.must(status == 0 and MASKED[0] in out, "the statement with a card number is not in the record, masked")
        self.shown.append(out)
        status, _ = self.sluice("status")
        self.must(status == 0, "status")

    def show_failing_closed(self):
        self.step("Failing closed", "The daemon is killed with SIGKILL. The kernel refuses the very next connection: nothing gets around Sluice.")
        self.tinted("36", "  $ kill -9 $(pidof sluice)")
        self.daemon.kill()
        self.daemon.wait()
        status, out = self.psql("SELECT 1;")
        self.must(status != 0 and "refused" in out.lower(), "a connection went through while the daemon was dead")
        self.say("It starts again, recovers its log, and takes over:")
        self.start_daemon()
        status, out = self.psql("SELECT holder, pan FROM cards WHERE id = 1;")
        self.must(status == 0 and MASKED[0] in out, "masking did not come back after the restart")

    def show_proof(self):
        self.step("Proof", "The log is a Merkle tree over every event. Verifying it needs the files alone, and it survived the kill.")
        self.stop_process(self.daemon)
        status, out = self.sluice("audit", "verify")
        self.must(status == 0 and "intact" in out, "the audit log does not verify")

    def search_for_raw_numbers(self):
        places = {"what was shown": "\n".join(self.shown).encode(), "the daemon's log": (self.directory / "sluice.log").read_bytes()}
        for path in sorted((self.directory / "state").rglob("*")):
            if path.is_file():
                places[str(path.relative_to(self.directory))] = path.read_bytes()
        self.must(any(name.startswith("state/audit") for name in places), "there is no audit log to search")
        for name, content in places.items():
            for pan in PANS:
                parts = [pan[:4], pan[4:10], pan[10:]] if len(pan) == 15 else [pan[i:i + 4] for i in range(0, len(pan), 4)]
                forms = ["".join(parts), " ".join(parts), "-".join(parts)]
                self.must(not any(form.encode() in content for form in forms), f"a raw card number is in {name}")
        self.say(f"Searched for raw card numbers: everything shown, the daemon's log, {len(places) - 2} files of state. None.")

    def close(self):
        with contextlib.suppress(KeyboardInterrupt):
            self.stop_process(self.daemon)
        self.undo.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--yes", action="store_true")
    tour = Tour(parser.parse_args())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        tour.run()
        return 0
    except (TourFailed, subprocess.SubprocessError, OSError) as error:
        print(f"demo: FAILED: {error}", file=sys.stderr)
        for name in ("sluice.log", "postgres.log"):
            log = tour.directory / name
            if log.exists():
                print(f"--- {name}, its end\n" + log.read_text(errors="replace")[-4000:], file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130
    finally:
        tour.close()


if __name__ == "__main__":
    sys.exit(main())
