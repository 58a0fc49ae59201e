"""Runs scripts/verify-log over many directories in one process: one exit status per line, in the order given on stdin."""

import importlib.machinery
import importlib.util
import pathlib
import sys

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "verify-log"
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("verify_log", str(SCRIPT))
module = importlib.util.module_from_spec(importlib.util.spec_from_loader("verify_log", loader))
loader.exec_module(module)

for line in sys.stdin:
    directory, _, head = line.rstrip("\n").partition("\t")
    print(module.run(directory, head or None)[0])
