"""Holds the source tree to its rules: who may include whom, file sizes, banned calls, unfinished work.

The layers are described in docs/architecture.md. Run by CTest; needs the Python standard library alone.
"""

import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE_FOLDERS = ("bpf", "parsers", "policies", "daemon")
SUFFIXES = {".h", ".cc", ".c", ".proto"}
LINES_WARN = 500
LINES_MAX = 650

# folder → folders that it may include besides itself. daemon/*.cc and daemon/*.h (main, service) may include everything.
ALLOWED = {
    "bpf": set(),
    "parsers/base": set(),
    "parsers/postgres": {"parsers/base"},
    "parsers/mysql": {"parsers/base"},
    "parsers/http1": {"parsers/base"},
    "parsers/ssh": {"parsers/base"},
    "parsers/mcp": {"parsers/base", "parsers/http1"},
    "parsers/sql": {"parsers/base"},
    "policies/rules": {"policies/cards"},
    "policies/cards": set(),
    "daemon/base": set(),
    "daemon/catalog": {"daemon/base", "parsers/sql"},
    "daemon/command": {"daemon/base", "daemon/catalog", "parsers/sql", "parsers/base", "policies/rules", "policies/cards"},
    "daemon/config": {"daemon/base", "policies/rules"},
    "daemon/io": {"daemon/base"},
    "daemon/privilege": {"daemon/base"},
    "daemon/tls": {"daemon/base", "daemon/io"},
    "daemon/events": {"daemon/base", "policies/rules", "policies/cards"},
    "daemon/audit": {"daemon/base", "daemon/events", "policies/rules", "policies/cards"},
    "daemon/interception": {"daemon/base", "daemon/events", "bpf"},
    "daemon/identity": {"daemon/base", "daemon/events", "policies/rules"},
    "daemon/approval": {"daemon/base", "daemon/events", "policies/rules"},
    "daemon/session": {"daemon/base", "daemon/io", "daemon/events", "daemon/command", "daemon/catalog", "parsers/base", "parsers/postgres",
                       "parsers/sql", "policies/rules", "policies/cards"},
    "daemon/metrics": {"daemon/base"},
    "daemon/control": {"daemon/base", "daemon/events", "daemon/audit", "policies/rules"},
    "daemon/console": {"daemon/base", "daemon/events", "daemon/control"},
    "daemon/scan": {"daemon/base", "policies/cards"},
    "daemon/cli": {"daemon/base", "daemon/scan", "daemon/control", "daemon/config", "daemon/audit", "daemon/interception",
                   "policies/rules", "policies/cards"},
}

# Calls that we do not make, and why.
BANNED = {
    r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|alloca)\s*\(": "unbounded or not re-entrant",
    r"\b(atoi|atol|atof)\s*\(": "no error reporting; use std::from_chars",
    r"\b(system|popen)\s*\(": "no shell",
    r"\b(rand|srand)\s*\(": "not random; take randomness as a parameter",
    r"\bthrow\b": "errors are results",
    r"\b(usleep|sleep_for|sleep_until)\s*\(": "wait for something, not for time",
    r"\bgetenv\s*\(": "environment is passed in",
}
# (file, pattern) pairs that break a rule for the reason given.
EXCEPTIONS = {
    ("daemon/main.cc", r"\bgetenv\s*\("): "main is where the environment is passed in from",
}


def source_files():
    for folder in SOURCE_FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and path.is_file():
                yield path


def all_text_files():
    for folder in (*SOURCE_FOLDERS, "tests", "scripts", "docs", "cmake"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "corpus" not in path.parts and "__pycache__" not in path.parts:
                yield path


def relative(path):
    return path.relative_to(ROOT).as_posix()


def layer_of(name):
    """The layer that a path belongs to: its folder, cut to a known one; None for daemon/*.cc."""
    folder = name.rsplit("/", 1)[0]
    while folder not in ALLOWED and "/" in folder:
        folder = folder.rsplit("/", 1)[0]
    return folder if folder in ALLOWED else None


def without_comments_and_strings(text):
    """Blanks out comments and literals, keeps line numbers."""
    pattern = re.compile(
        r'R"([^(\s]*)\(.*?\)\1"|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


class Layering(unittest.TestCase):
    def test_includes_follow_the_layers(self):
        problems = []
        for path in source_files():
            name = relative(path)
            layer = layer_of(name)
            if layer is None:
                if not re.fullmatch(r"daemon/[^/]+", name):
                    problems.append(f"{name}: a folder that the layering rules do not know; add it to ALLOWED")
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
                if not match or not match.group(1).startswith(tuple(f + "/" for f in SOURCE_FOLDERS)):
                    continue
                included = layer_of(match.group(1))
                if included is None:
                    problems.append(f"{name}:{number}: only daemon/*.cc may include {match.group(1)}")
                elif included != layer and included not in ALLOWED[layer]:
                    problems.append(f"{name}:{number}: {layer} may not include {included}")
        self.assertFalse(problems, "\n" + "\n".join(problems))

    def test_machines_do_no_io(self):
        problems = []
        for path in (ROOT / "daemon/session").glob("*_machine*"):
            text = path.read_text()
            for forbidden in ('"daemon/io/', '"daemon/events/', "<sys/socket.h>", "<sys/epoll.h>", "<chrono>", "<thread>"):
                if forbidden in text:
                    problems.append(f"{relative(path)}: includes {forbidden}; a machine is events in, actions out")
        self.assertFalse(problems, "\n" + "\n".join(problems))

    def test_parsers_are_sans_io(self):
        problems = []
        for path in source_files():
            if not relative(path).startswith(("parsers/", "policies/")):
                continue
            for forbidden in ("<sys/socket.h>", "<sys/epoll.h>", "<thread>", "spdlog"):
                # parsers/sql runs libpg_query on bounded threads with stacks of their own
                if forbidden == "<thread>" and relative(path).startswith("parsers/sql/"):
                    continue
                if re.search(r"#\s*include\s*[<\"]" + re.escape(forbidden.strip("<>")), path.read_text()):
                    problems.append(f"{relative(path)}: includes {forbidden}")
        self.assertFalse(problems, "\n" + "\n".join(problems))


class Tidiness(unittest.TestCase):
    def test_file_sizes(self):
        too_large = []
        for path in source_files():
            lines = path.read_text().count("\n")
            if lines > LINES_MAX:
                too_large.append(f"{relative(path)}: {lines} lines; split it by idea (limit {LINES_MAX})")
            elif lines > LINES_WARN:
                print(f"warning: {relative(path)} has {lines} lines, more than about {LINES_WARN}", file=sys.stderr)
        self.assertFalse(too_large, "\n" + "\n".join(too_large))

    def test_banned_calls(self):
        problems = []
        for path in source_files():
            if path.suffix == ".proto":
                continue
            code = without_comments_and_strings(path.read_text())
            for pattern, reason in BANNED.items():
                if (relative(path), pattern) in EXCEPTIONS:
                    continue
                for match in re.finditer(pattern, code):
                    number = code.count("\n", 0, match.start()) + 1
                    problems.append(f"{relative(path)}:{number}: {match.group().strip()}: {reason}")
        self.assertFalse(problems, "\n" + "\n".join(problems))

    def test_headers_open_with_why_and_guard(self):
        problems = []
        for path in source_files():
            if path.suffix != ".h" or relative(path) == "bpf/abi.h" or relative(path).startswith("bpf/"):
                continue
            text = path.read_text()
            if not text.startswith("//"):
                problems.append(f"{relative(path)}: does not open with why it exists")
            if "#pragma once" not in text:
                problems.append(f"{relative(path)}: lacks #pragma once")
        self.assertFalse(problems, "\n" + "\n".join(problems))

    def test_nothing_unfinished(self):
        words = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
        problems = []
        for path in all_text_files():
            try:
                text = path.read_text()
            except UnicodeDecodeError:
                continue
            for number, line in enumerate(text.splitlines(), 1):
                if words.search(line) and "mktemp" not in line:
                    problems.append(f"{relative(path)}:{number}: {line.strip()}")
        self.assertFalse(problems, "\n" + "\n".join(problems))

    def test_no_stray_sleeps_in_tests(self):
        problems = []
        for path in sorted((ROOT / "tests").rglob("*")):
            if path.suffix not in {".cc", ".h", ".py"} or "bench" in path.parts or path == pathlib.Path(__file__).resolve():
                continue
            function = ""
            for number, line in enumerate(path.read_text().splitlines(), 1):
                started = re.match(r"\s*def (\w+)\(|(?!.*\b(?:while|if|for|switch)\b).*?\b(\w+)\([^;]*\{$", line)
                if started:
                    function = started.group(1) or started.group(2)
                waits = re.search(r"\b(sleep|usleep|sleep_for)\s*\(", line) and "pg_sleep" not in line
                # A wait with its reason beside it is fine: to kill something at a random moment, say. So is the pace of a load.
                paces = re.search(r"microseconds\(|milliseconds\(\d\)", line)
                if waits and not paces and not function.startswith("wait_") and not re.search(r"(#|//) ", line):
                    problems.append(f"{relative(path)}:{number}: {line.strip()} (use wait_until, or say why beside it)")
        self.assertFalse(problems, "\n" + "\n".join(problems))


if __name__ == "__main__":
    unittest.main()
