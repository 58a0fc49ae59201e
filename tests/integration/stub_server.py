"""A PostgreSQL server of a few lines, for tests that need more sessions than a real one takes, or worse manners.

usage: stub_server.py PORT [PROTOCOL]. PROTOCOL is the number of another one than TCP that the listener is made for. The database that a client asks for says how it is treated: `drip` gets the greeting byte by byte, one in DRIP_SECONDS;
`mute` gets nothing; `flood` gets notices without end; anything else is let in, and every Query is answered with one row.
"""
import asyncio
import contextlib
import resource
import socket
import struct
import sys

DRIP_SECONDS = 0.2


def message(kind, payload):
    return kind + struct.pack("!I", len(payload) + 4) + payload


READY = message(b"Z", b"I")
WELCOME = message(b"R", b"\0\0\0\0") + message(b"S", b"client_encoding\0UTF8\0") + message(b"K", b"\0\0\0\1\0\0\0\2") + READY
ROW = (message(b"T", b"\0\1n\0" + struct.pack("!IhIhih", 0, 0, 23, 4, -1, 0)) + message(b"D", b"\0\1\0\0\0\x011") + message(b"C", b"SELECT 1\0") + READY)
NOTICE = message(b"N", b"SNOTICE\0C00000\0M" + b"n" * 8000 + b"\0\0")


async def greet(database, writer):
    if database == "drip":
        for byte in WELCOME:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(DRIP_SECONDS)  # dawdling is what is tested
    elif database == "mute":
        await asyncio.sleep(3600)  # longer than any test
    else:
        writer.write(WELCOME)
    while database == "flood":
        writer.write(NOTICE)
        await writer.drain()


async def serve(reader, writer):
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        length, code = struct.unpack("!II", await reader.readexactly(8))
        fields = (await reader.readexactly(length - 8)).split(b"\0") if code == 196608 else []
        database = dict(zip(fields[::2], fields[1::2], strict=False)).get(b"database", b"").decode()
        await greet(database, writer)
        while True:
            kind, length = struct.unpack("!cI", await reader.readexactly(5))
            await reader.readexactly(length - 4)
            if kind == b"Q":
                writer.write(ROW)
            elif kind == b"X":
                break
    writer.close()


async def main(port, protocol=0):
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    server = await asyncio.start_server(serve, sock=listener, backlog=4096)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main(*map(int, sys.argv[1:])))
