"""Adds up what GoogleTest, CTest and pytest reported, prints skips with their reasons and, last, one plain line.

usage: summarize_tests.py DIRECTORY   (with gtest/*.xml, ctest/*.xml, pytest/*.xml); exit status 1 where something failed
"""

import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def cases(directory):
    """Yields (name, state, reason), state one of passed, failed, skipped."""
    gtest_binaries = {}   # name → whether one of its cases failed
    for file in sorted((directory / "gtest").glob("*.xml")):
        gtest_binaries[file.stem] = False
        for case in ElementTree.parse(file).getroot().iter("testcase"):
            name = f"{file.stem}: {case.get('classname')}.{case.get('name')}"
            if case.get("status") == "notrun":
                yield name, "skipped", "disabled"
            elif case.find("failure") is not None:
                gtest_binaries[file.stem] = True
                yield name, "failed", case.find("failure").get("message", "")
            elif case.find("skipped") is not None or case.get("result") == "skipped":
                skip = case.find("skipped")
                yield name, "skipped", skip.get("message", "") if skip is not None else ""
            else:
                yield name, "passed", ""
    for file in sorted((directory / "ctest").glob("*.xml")):
        for case in ElementTree.parse(file).getroot().iter("testcase"):
            status = case.get("status")
            # A GoogleTest binary is counted by its cases. One that crashed left no file; one whose cases all passed and that failed
            # nevertheless (a leak found at its end) is a failure of its own.
            if case.get("name") in gtest_binaries and (status == "run" or gtest_binaries[case.get("name")]):
                continue
            failure = case.find("failure")
            if status == "run" and failure is None:
                yield case.get("name"), "passed", ""
            elif status in ("notrun", "disabled"):
                skip = case.find("skipped")
                yield case.get("name"), "skipped", skip.get("message", "") if skip is not None else status
            else:
                yield case.get("name"), "failed", failure.get("message", "") if failure is not None else ""
    for file in sorted((directory / "pytest").glob("*.xml")):
        for case in ElementTree.parse(file).getroot().iter("testcase"):
            name = f"{file.stem}: {case.get('classname')}.{case.get('name')}"
            broken = case.find("failure") if case.find("failure") is not None else case.find("error")
            if broken is not None:
                yield name, "failed", broken.get("message", "")
            elif case.find("skipped") is not None:
                yield name, "skipped", case.find("skipped").get("message", "")
            else:
                yield name, "passed", ""


def main():
    count = {"passed": 0, "failed": 0, "skipped": 0}
    lines = []
    for name, state, reason in cases(pathlib.Path(sys.argv[1])):
        count[state] += 1
        if state != "passed":
            first_line = (reason.splitlines() or [""])[0]
            lines.append((state, f"{state.upper()} {name}: {first_line}"))
    for _, line in sorted(lines, key=lambda entry: entry[0] == "failed"):
        print(line)
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 1 if count["failed"] or not count["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
