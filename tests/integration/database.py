"""A PostgreSQL cluster of the tests' own: initdb in a scratch directory, a free port on loopback, users for every authentication method,
and a table with published test card numbers in every type that can hold one."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

PG_BIN = pathlib.Path(os.environ.get("SLUICE_TEST_PG_BIN", "/usr/lib/postgresql/15/bin"))
READY_SECONDS = 30
PAN = "4111111111111111"
MASKED = "411111******1111"
PANS = ["4111111111111111", "5555555555554444", "378282246310005", "6011111111111117", "3530111333300000", "30569309025904"]

HBA = """\
host all scram_user 127.0.0.1/32 scram-sha-256
host all md5_user 127.0.0.1/32 md5
host all clear_user 127.0.0.1/32 password
host all scram_user ::1/128 scram-sha-256
local all all trust
host all all 0.0.0.0/0 trust
host all all ::/0 trust
host replication all 127.0.0.1/32 trust
"""

SCHEMA = """
create table cards (id int primary key, holder text, pan text, pan_big bigint, pan_numeric numeric, pan_bytes bytea, pan_json json,
                    pan_jsonb jsonb, pan_texts text[], pan_bigs bigint[], unique (pan));
create table plain (id int primary key, note text);
create table customers (id int, name text);
insert into plain select i, 'note ' || i from generate_series(1, 1000) i;
insert into customers values (1, 'alice');
set password_encryption = 'scram-sha-256'; create role scram_user login password 'scram-secret' in role pg_read_all_data;
set password_encryption = 'md5'; create role md5_user login password 'md5-secret' in role pg_read_all_data;
create role clear_user login password 'clear-secret' in role pg_read_all_data;
create function raise_card() returns void language plpgsql as $$ begin raise notice 'card %', '41111111' || '11111111';
  raise exception 'declined %', '41111111' || '11111111' using detail = 'number 5555555555554444'; end $$;
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def luhn(digits):
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if position % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def wait_until(what, condition, seconds=READY_SECONDS):
    """Polls until condition() is true; fails with `what` in the message."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


class Database:
    """`port` is where it listens on 127.0.0.1 and [::1]; psql() talks to it directly over its Unix socket, past any steering."""

    def __init__(self, directory, binaries=PG_BIN, settings=None, cgroup=None):
        """binaries: the server to run (psql and pg_isready are always those of PG_BIN); settings: more of postgresql.conf; cgroup: to run in."""
        self.cgroup = cgroup
        self.binaries, self.settings = pathlib.Path(binaries), settings or {}
        self.directory = pathlib.Path(directory)
        self.directory.chmod(0o755)
        self.data, self.sockets = self.directory / "data", self.directory / "sockets"
        self.port = free_port()
        self.process = None

    def as_owner(self, *command):
        owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        return [*owner, *map(str, command)]

    def start(self):
        """An empty cluster that takes connections, with the tables and users of the tests."""
        self.start_empty()
        self.psql(SCHEMA)
        for number, pan in enumerate(PANS, start=1):
            self.psql(f"insert into cards values ({number}, 'holder {number}', '{pan}', {pan}, {pan}, '{pan}', '{{\"pan\": \"{pan}\"}}', "
                      f"'{{\"pan\": {pan}}}', array['{pan}', 'x'], array[{pan}])")

    def start_empty(self):
        for path in (self.data, self.sockets):
            path.mkdir(mode=0o700)
            if os.geteuid() == 0:
                shutil.chown(path, "postgres", "postgres")
        self.sockets.chmod(0o755)
        subprocess.run(self.as_owner(self.binaries / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "--no-locale", "-E", "UTF8", "--no-sync"),
                       check=True, stdout=subprocess.DEVNULL)
        (self.data / "pg_hba.conf").write_text(HBA)
        settings = {"port": self.port, "listen_addresses": "127.0.0.1,::1", "unix_socket_directories": self.sockets, "fsync": "off",
                    "max_connections": 300, "max_prepared_transactions": 10, "wal_level": "logical", "log_statement": "all",
                    "log_line_prefix": "%m [%p] %u ", **self.settings}
        flags = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        self.log = self.directory / "postgres.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.as_owner(self.binaries / "postgres", "-D", self.data, *flags), stdout=log, stderr=log,
                                            preexec_fn=self._enter if self.cgroup is not None else None)
        ready = [str(PG_BIN / "pg_isready"), "-q", "-h", str(self.sockets), "-p", str(self.port)]
        wait_until("PostgreSQL takes connections", lambda: subprocess.run(ready, check=False).returncode == 0)

    def _enter(self):
        (self.cgroup / "cgroup.procs").write_text(str(os.getpid()))

    def psql(self, sql, *flags):
        """Runs SQL directly; returns its unaligned output."""
        command = [PG_BIN / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.sockets, "-p", self.port, "-U", "postgres", *flags]
        return subprocess.run(list(map(str, command)), input=sql, check=True, capture_output=True, text=True, timeout=60).stdout.strip()

    def statements(self):
        """What the server logged that it was asked to run (log_statement=all)."""
        return self.log.read_text(errors="replace")

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
