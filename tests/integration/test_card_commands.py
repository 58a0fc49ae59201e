"""`sluice mask` and `sluice scan` as people run them: pipes of any size in bounded memory, trees, archives, exit status."""
import pathlib
import re
import subprocess
import tarfile
import threading

import pytest
from daemon import BINARY as NAMED_BINARY

BINARY = NAMED_BINARY.resolve()

CARD = b"4111111111111111"
MASKED = b"411111******1111"
MEMORY_KB_MAX = 96 * 1024


def run_piped(sluice, arguments, blocks):
    """Feeds blocks to the command; answers with status, size of the output, how often MASKED is in it, and its peak memory in kB. That is
    read before its input ends: what wait4(2) tells counts the memory of the process that it was forked from."""
    process = subprocess.Popen([sluice, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    seen = {"bytes": 0, "masked": 0}

    def drain():
        rest = b""
        while chunk := process.stdout.read(1 << 16):
            seen["bytes"] += len(chunk)
            text = rest + chunk
            seen["masked"] += text.count(MASKED)
            rest = text[-(len(MASKED) - 1):]

    reader = threading.Thread(target=drain)
    reader.start()
    for block in blocks:
        process.stdin.write(block)
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    process.stdin.close()
    reader.join()
    return process.wait(), seen["bytes"], seen["masked"], int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1))


@pytest.mark.slow  # a sanitizer needs memory of its own
def test_mask_takes_a_pipe_of_any_size_in_bounded_memory():
    block = (b"some words and no number in this line at all\n" * 1456)[:65520] + CARD
    count = 6000   # 393 MB
    status, size, masked, memory = run_piped(BINARY, ["mask"], (block for _ in range(count)))
    assert status == 0
    assert size == len(block) * count
    assert masked == count
    assert memory < MEMORY_KB_MAX, f"{memory} kB"


@pytest.mark.slow  # a sanitizer needs memory of its own
def test_scan_takes_a_packed_pipe_of_any_size_in_bounded_memory(tmp_path):
    plain = tmp_path / "plain"
    with open(plain, "wb") as out:
        for _ in range(3000):
            out.write((b"some words and no number in this line at all\n" * 1456)[:65520] + CARD)
    subprocess.run(["gzip", "-1", str(plain)], check=True)
    packed = (tmp_path / "plain.gz").read_bytes()
    status, _, _, memory = run_piped(BINARY, ["scan", "--json"], [packed])
    assert status == 1
    assert memory < MEMORY_KB_MAX, f"{memory} kB"


def test_scan_of_a_tree_is_the_same_every_time(tmp_path):
    for number in range(200):
        path = tmp_path / "tree" / f"d{number % 7}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x\n" * number + CARD)
    with tarfile.open(tmp_path / "tree" / "d3" / "all.tar.xz", "w:xz") as packed:
        packed.add(tmp_path / "tree" / "d1", "d1")
    runs = [subprocess.run([BINARY, "scan", "--json", "--threads", threads, "tree"], cwd=tmp_path, capture_output=True, check=False)
            for threads in ("1", "4", "4")]
    assert {run.returncode for run in runs} == {1}
    assert runs[0].stdout == runs[1].stdout == runs[2].stdout
    lines = runs[0].stdout.splitlines()
    members = [line for line in lines if b'"path":"tree/d3/all.tar.xz","member":"d1/f' in line]
    assert len(members) == len([number for number in range(200) if number % 7 == 1])
    assert len(lines) == 200 + len(members)
    assert CARD not in runs[0].stdout
    paths = [line.split(b'"')[3] for line in lines if b'"member"' not in line]
    assert paths == sorted(paths)


def test_scan_through_a_closed_pipe_ends(tmp_path):
    for number in range(50):
        (tmp_path / f"f{number}").write_bytes((CARD + b"\n") * 20000)
    run = subprocess.run(f"{BINARY} scan {tmp_path} | head -n 1", shell=True, capture_output=True, timeout=60, check=False)
    assert run.stdout.count(b"\n") == 1


def test_codes_and_keys():
    def run(*arguments, text):
        done = subprocess.run([BINARY, *arguments], input=text, capture_output=True, timeout=60, check=False)
        return done.returncode, done.stdout

    assert run("mask", text=b"pin=1234&cvv=734") == (0, b"pin=****&cvv=***")
    assert run("scan", text=b"pin = 1234") == (0, b"")
    status, out = run("scan", "--json", text=b"pan=4111111111111111&cvv=734")
    assert status == 1 and out.count(b"\n") == 2 and b'"kind":"cvv","masked":"***"' in out
    assert run("scan", "--data", "cvv", text=b"pin = 1234")[0] == 1
    # A key never makes a number harmless, unless that is asked for.
    assert run("scan", text=b"order_id=4111111111111111")[0] == 1
    assert run("scan", "--trust-keys", text=b"order_id=4111111111111111")[0] == 0
    assert run("mask", text=b"order_id=4111111111111111")[1] == b"order_id=411111******1111"
