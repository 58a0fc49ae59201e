"""connect() by io_uring, which is no system call of that name: a ring of one entry by hand, as the standard library has none.

Layout: io_uring_setup(2), io_uring_enter(2), <linux/io_uring.h>.
"""
import ctypes
import mmap
import os
import socket
import struct

SETUP, ENTER = 425, 426
OP_CONNECT = 16
ENTER_GETEVENTS = 1
SQ_RING, CQ_RING, SQES = 0, 0x8000000, 0x10000000
PARAMS_BYTES, ENTRY_BYTES, RESULT_BYTES = 120, 64, 16

libc = ctypes.CDLL(None, use_errno=True)


def system_call(*arguments):
    result = libc.syscall(*arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def connect(client, address):
    """client: an AF_INET socket. Raises OSError, with ENOSYS or EPERM where there is no io_uring."""
    params = ctypes.create_string_buffer(PARAMS_BYTES)
    ring = system_call(SETUP, 1, params)
    try:
        words = struct.unpack("30I", params.raw)
        entries_in, entries_out, sq, cq = words[0], words[1], words[10:20], words[20:30]  # sq_off, cq_off
        submitted = mmap.mmap(ring, sq[6] + entries_in * 4, offset=SQ_RING)
        completed = mmap.mmap(ring, cq[5] + entries_out * RESULT_BYTES, offset=CQ_RING)
        entries = mmap.mmap(ring, entries_in * ENTRY_BYTES, offset=SQES)
        where = ctypes.create_string_buffer(struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", address[1], socket.inet_aton(address[0])))
        entry = struct.pack("=BBHiQQII", OP_CONNECT, 0, 0, client.fileno(), 16, ctypes.addressof(where), 0, 0)
        entries[0:len(entry)] = entry
        submitted[sq[6]:sq[6] + 4] = struct.pack("=I", 0)
        submitted[sq[1]:sq[1] + 4] = struct.pack("=I", 1)  # the tail: one entry
        system_call(ENTER, ring, 1, 1, ENTER_GETEVENTS, None, 0)
        (result,) = struct.unpack("=i", completed[cq[5] + 8:cq[5] + 12])
    finally:
        os.close(ring)
    if result < 0:
        raise OSError(-result, os.strerror(-result))
