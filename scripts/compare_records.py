#!/usr/bin/env python3
"""Compares two files of records of the same clip, frame by frame: batched must equal one by one.

usage: compare_records.py ONE.jsonl OTHER.jsonl

Frames are paired by seq. Both must hold the same frames, and each frame the same detections: same labels, every
edge of a box within 0.5 pixels, confidence within 0.01. Exit status 1 if they differ, 2 if a file cannot be read.
"""

import sys

from records import pairs, read

PIXELS, CONFIDENCE = 0.5, 0.01
MOST_TOLD = 10


def distance(one, other):
    """The largest distance between two edges, in pixels."""
    return max(abs(a - b) for a, b in zip(one[2], other[2]))


def equal(one, other):
    return one[0] == other[0] and abs(one[1] - other[1]) <= CONFIDENCE and distance(one, other) <= PIXELS


def closeness(one, other):
    return -distance(one, other)


def without(detections, matched):
    return [found for i, found in enumerate(detections) if i not in matched]


def differences(one, other):
    """One sentence for every frame that differs; `one` and `other` as `read` returns them."""
    found = []
    for seq in sorted(one.keys() | other.keys()):
        if seq not in one or seq not in other:
            found.append(f"frame {seq}: only in the {'first' if seq in one else 'second'} file")
            continue
        first, second = one[seq], other[seq]
        matched = pairs(first, second, equal, closeness)
        if len(matched) == len(first) == len(second):
            continue
        lone_first = without(first, {i for i, _ in matched})
        lone_second = without(second, {j for _, j in matched})
        found.append(f"frame {seq}: only in the first {lone_first}, only in the second {lone_second}")
    return found


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        one, other = (read(path) for path in arguments)
    except (OSError, ValueError) as error:
        print(f"compare_records: {error}", file=sys.stderr)
        return 2
    found = differences(one, other)
    for line in found[:MOST_TOLD]:
        print(line)
    total = sum(len(detections) for detections in one.values())
    print(f"{len(one)} and {len(other)} frames, {total} detections in the first: {len(found)} frames differ")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
