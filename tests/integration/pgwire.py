"""A raw PostgreSQL client for tests: builds frontend messages byte by byte and returns backend messages as they are on the wire.

Drivers hide what matters here (what is pipelined, which message comes when, the exact bytes), so the attack and transparency tests speak
the protocol themselves. Format: PostgreSQL documentation, chapter "Frontend/Backend Protocol".
"""
import socket
import struct

PROTOCOL_3_0 = 196608
SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSSENC_REQUEST = struct.pack("!II", 8, 80877104)
TIMEOUT_SECONDS = 20


def message(kind, payload=b""):
    """One typed frontend message: kind is one byte (bytes), payload the body without the length."""
    return kind + struct.pack("!I", len(payload) + 4) + payload


def cstr(text):
    return (text.encode() if isinstance(text, str) else text) + b"\0"


def startup(user="postgres", database="postgres", version=PROTOCOL_3_0, **options):
    body = struct.pack("!I", version)
    for key, value in {"user": user, "database": database, **options}.items():
        body += cstr(key) + cstr(value)
    body += b"\0"
    return struct.pack("!I", len(body) + 4) + body


def cancel_request(pid, key):
    return struct.pack("!III", 12 + len(key), 80877102, pid) + key


def query(sql):
    return message(b"Q", cstr(sql))


def parse(sql, name="", types=()):
    return message(b"P", cstr(name) + cstr(sql) + struct.pack("!H", len(types)) + b"".join(struct.pack("!I", t) for t in types))


def bind(values=(), statement="", portal="", formats=(), result_formats=()):
    body = cstr(portal) + cstr(statement) + struct.pack("!H", len(formats)) + b"".join(struct.pack("!H", f) for f in formats)
    body += struct.pack("!H", len(values))
    for value in values:
        if value is None:
            body += struct.pack("!i", -1)
        else:
            data = value.encode() if isinstance(value, str) else value
            body += struct.pack("!i", len(data)) + data
    body += struct.pack("!H", len(result_formats)) + b"".join(struct.pack("!H", f) for f in result_formats)
    return message(b"B", body)


def describe(kind, name=""):
    return message(b"D", kind + cstr(name))


def execute(portal="", rows=0):
    return message(b"E", cstr(portal) + struct.pack("!I", rows))


def close(kind, name=""):
    return message(b"C", kind + cstr(name))


def function_call(oid, values=(), formats=(), result_format=0):
    body = struct.pack("!IH", oid, len(formats)) + b"".join(struct.pack("!H", f) for f in formats) + struct.pack("!H", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return message(b"F", body + struct.pack("!H", result_format))


SYNC = message(b"S")
FLUSH = message(b"H")
TERMINATE = message(b"X")
COPY_DONE = message(b"c")


def copy_data(data):
    return message(b"d", data)


def copy_fail(reason):
    return message(b"f", cstr(reason))


class Closed(Exception):
    """The peer closed the connection."""


class Connection:
    """One raw connection. `raw` keeps every byte that came from the server side."""

    def __init__(self, host, port, user="postgres", database="postgres", login=True, family=None, **options):
        if family is None:
            self.socket = socket.create_connection((host, port), timeout=TIMEOUT_SECONDS)
        else:
            self.socket = socket.socket(family, socket.SOCK_STREAM)
            self.socket.settimeout(TIMEOUT_SECONDS)
            self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.raw = bytearray()
        self.greeting = []
        if login:
            self.send(startup(user, database, **options))
            self.greeting = self.until_ready()

    def send(self, *messages):
        self.socket.sendall(b"".join(messages))

    def _fill(self, wanted):
        while len(self.buffer) < wanted:
            piece = self.socket.recv(1 << 16)
            if not piece:
                raise Closed(f"connection closed; {len(self.buffer)} bytes left over")
            self.buffer += piece
            self.raw += piece

    def byte(self):
        """A single byte: the answer to an SSLRequest or GSSENCRequest."""
        self._fill(1)
        value, self.buffer = self.buffer[:1], self.buffer[1:]
        return value

    def next(self):
        """The next backend message: (kind, payload)."""
        self._fill(5)
        length = struct.unpack("!I", self.buffer[1:5])[0]
        self._fill(1 + length)
        kind, payload = self.buffer[:1], self.buffer[5:1 + length]
        self.buffer = self.buffer[1 + length:]
        return kind, payload

    def until(self, *kinds):
        """All messages up to and with the first of one of these kinds."""
        messages = []
        while True:
            messages.append(self.next())
            if messages[-1][0] in kinds:
                return messages

    def until_ready(self):
        return self.until(b"Z")

    def run(self, sql):
        """One simple query: every message of its answer."""
        self.send(query(sql))
        return self.until_ready()

    def pipeline(self, *messages):
        """Sends messages and a Sync in one segment; the answer up to ReadyForQuery."""
        self.send(*messages, SYNC)
        return self.until_ready()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Adopted(Connection):
    """A raw connection over a socket that is there already."""

    def __init__(self, client):
        self.socket, self.buffer, self.raw = client, b"", bytearray()
        self.socket.settimeout(TIMEOUT_SECONDS)
        self.send(startup())
        self.greeting = self.until_ready()


def kinds(messages):
    return b"".join(kind for kind, _ in messages)


def rows(messages):
    """Field values of every DataRow, as bytes or None."""
    found = []
    for kind, payload in messages:
        if kind != b"D":
            continue
        (count,), position, row = struct.unpack("!H", payload[:2]), 2, []
        for _ in range(count):
            (length,) = struct.unpack("!i", payload[position:position + 4])
            position += 4
            if length < 0:
                row.append(None)
            else:
                row.append(payload[position:position + length])
                position += length
        found.append(row)
    return found


def fields(payload):
    """The fields of an ErrorResponse or NoticeResponse by their code."""
    found = {}
    for part in payload.rstrip(b"\0").split(b"\0"):
        if part:
            found[chr(part[0])] = part[1:].decode(errors="replace")
    return found


def errors(messages):
    return [fields(payload) for kind, payload in messages if kind == b"E"]


def notices(messages):
    return [fields(payload) for kind, payload in messages if kind == b"N"]


def status(messages):
    """Transaction status of the last ReadyForQuery: I, T or E."""
    return [payload.decode() for kind, payload in messages if kind == b"Z"][-1]
