#!/usr/bin/env python3
"""Prints the table of faults with what became of the tests that stand for each.

usage: fault_table.py README.md RESULT.xml...

The results are JUnit files of cargo-nextest, one a run. A test outside of the fault suite has none in them: the gate
runs it. Ends with status 1 if a test of the table failed in any run.
"""

import re
import sys
import xml.etree.ElementTree as xml


def outcomes(paths):
    """Runs passed and runs in all, per name of a test without its module."""
    found = {}
    for path in paths:
        for case in xml.parse(path).getroot().iter("testcase"):
            name = case.get("name").rsplit("::", 1)[-1]
            passed, runs = found.get(name, (0, 0))
            failed = any(child.tag in ("failure", "error") for child in case)
            found[name] = (passed + (not failed), runs + 1)
    return found


def rows(text):
    """The rows of the table: fault, what it is, names of its tests."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) >= 4 and re.fullmatch(r"F\d\d", cells[0]):
            names = re.findall(r"`([^`]+)`", cells[2])
            yield cells[0], cells[1], [name.rsplit("::", 1)[-1] for name in names], cells[3]


def verdict(names, found):
    """What to print for the tests of one fault, and whether none of them failed."""
    here = [found[name] for name in names if name in found]
    if not names:
        return "no test", True
    if not here:
        return "in the gate", True
    passed, runs = (sum(column) for column in zip(*here))
    return f"{'passed' if passed == runs else 'FAILED'} {passed}/{runs}", passed == runs


def main(arguments):
    if len(arguments) < 2:
        sys.exit(__doc__)
    with open(arguments[0], encoding="utf-8") as file:
        text = file.read()
    found, good = outcomes(arguments[1:]), True
    for fault, what, names, outcome in rows(text):
        said, passed = verdict(names, found)
        good = good and passed
        print(f"{fault}  {said:<14}  {what}: {outcome}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
