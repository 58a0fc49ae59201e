"""A PostgreSQL client of a few lines, run as a process of its own so that it can be moved into a steered cgroup."""
import subprocess
import sys

# argv: port, number of sessions, and perhaps a statement with a text of its rows: then each session sends it, one after another, and
# reads up to the first of them. The rest of the result is not waited for; the pause lets the server find out that nobody reads it.
SOURCE = r"""
import resource, socket, struct, sys, time
port, count, statement = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
body = struct.pack("!I", 196608) + b"user\0postgres\0database\0postgres\0\0"
sessions = []
def until(s, wanted):
    data = b""
    while wanted not in data:
        piece = s.recv(65536)
        if not piece: sys.exit("the connection was closed")
        data = data[-64:] + piece
for _ in range(count):
    s = socket.create_connection(("127.0.0.1", port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(struct.pack("!I", len(body) + 4) + body)
    until(s, b"Z\0\0\0\x05I")
    sessions.append(s)
def query(s, text, wanted):
    text = text.encode() + b"\0"
    s.sendall(b"Q" + struct.pack("!I", len(text) + 4) + text)
    until(s, wanted)
if statement:
    times = []
    for s in sessions:
        query(s, "SELECT count(*) FROM pg_class", b"Z\0\0\0\x05I")  # what a backend reads once is not the row's time
        began = time.perf_counter()
        query(s, statement[0], statement[1].encode())
        times.append(time.perf_counter() - began)
        s.close()
        time.sleep(0.05)
    print(sorted(times)[len(times) // 2] * 1e6, flush=True)
    sys.exit()
print("ready", flush=True)
sys.stdin.read()
"""
FIRST_ROWS = 9  # of one measurement
TIMEOUT_SECONDS = 60


def idle_sessions(contender, count):
    """`count` authenticated sessions that do nothing until the standard input of the process is closed."""
    client = subprocess.Popen([sys.executable, "-c", SOURCE, str(contender.port), str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              preexec_fn=contender.preexec)
    if client.stdout.readline() != b"ready\n":
        raise SystemExit(f"bench: idle sessions through {contender.name} failed")
    return client


def first_row_us(contender, statement, text):
    """From sending a statement to reading `text`, which stands in each of its rows, in µs; the median of some sessions."""
    run = subprocess.run([sys.executable, "-c", SOURCE, str(contender.port), str(FIRST_ROWS), statement, text], capture_output=True, text=True,
                         preexec_fn=contender.preexec, check=False, timeout=TIMEOUT_SECONDS)
    if run.returncode != 0:
        raise SystemExit(f"bench: the first row through {contender.name} failed:\n{run.stderr}")
    return float(run.stdout)
