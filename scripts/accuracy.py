#!/usr/bin/env python3
"""Compares records of nvsink with detections of an independent implementation.

usage: accuracy.py RECORDS.jsonl REFERENCE.json [RECORDS.jsonl REFERENCE.json ...]

A reference is {"detections": {"<frame>": [{"label", "confidence", "box": [x1, y1, x2, y2]}]}}; only the frames it
lists are compared, frame n being the record of seq n. Two figures, over all clips:

  found     of the reference's detections of confidence >= 0.45, the share we have, too:
            same label, IoU >= 0.85, confidence within 0.08
  invented  of our detections of confidence >= 0.5, the share the reference (>= 0.4) has not:
            same label, IoU >= 0.85

Each detection is paired at most once, best IoU first. A listed frame without a record counts as one without
detections, and is told. Exit status 1 if found < 97 % or invented > 3 %, 2 if a file cannot be read.
"""

import json
import sys

from records import iou, pairs, read

LEAST_FOUND, MOST_INVENTED = 0.97, 0.03
REFERENCE_CONFIDENCE, OUR_CONFIDENCE, PARTNER_CONFIDENCE = 0.45, 0.5, 0.4
LEAST_IOU, CONFIDENCE_TOLERANCE = 0.85, 0.08


class Tally:
    """What was counted over one clip, or several."""

    def __init__(self):
        self.wanted = self.found = self.ours = self.invented = self.absent = 0

    def add(self, other):
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def found_share(self):
        return self.found / self.wanted if self.wanted else 1.0

    def invented_share(self):
        return self.invented / self.ours if self.ours else 0.0

    def passed(self):
        return self.found_share() >= LEAST_FOUND and self.invented_share() <= MOST_INVENTED

    def __str__(self):
        absent = f", {self.absent} listed frames without a record" if self.absent else ""
        return (
            f"found {self.found} of {self.wanted} = {self.found_share():.2%}, "
            f"invented {self.invented} of {self.ours} = {self.invented_share():.2%}{absent}"
        )


def same_thing(one, other):
    return one[0] == other[0] and iou(one[2], other[2]) >= LEAST_IOU


def equal(one, other):
    return same_thing(one, other) and abs(one[1] - other[1]) <= CONFIDENCE_TOLERANCE


def overlap(one, other):
    return iou(one[2], other[2])


def compare(records, reference):
    """The Tally of one clip. `records` as `read` returns them, `reference` as the file's "detections"."""
    tally = Tally()
    for frame, listed in reference.items():
        theirs = [(found["label"], found["confidence"], found["box"]) for found in listed]
        ours = records.get(int(frame), [])
        tally.absent += int(frame) not in records
        wanted = [found for found in theirs if found[1] >= REFERENCE_CONFIDENCE]
        tally.wanted += len(wanted)
        tally.found += len(pairs(wanted, ours, equal, overlap))
        confident = [found for found in ours if found[1] >= OUR_CONFIDENCE]
        partners = [found for found in theirs if found[1] >= PARTNER_CONFIDENCE]
        tally.ours += len(confident)
        tally.invented += len(confident) - len(pairs(confident, partners, same_thing, overlap))
    return tally


def main(arguments):
    if not arguments or len(arguments) % 2:
        print(__doc__, file=sys.stderr)
        return 2
    total = Tally()
    for records_path, reference_path in zip(arguments[::2], arguments[1::2]):
        try:
            with open(reference_path, encoding="utf-8") as file:
                reference = json.load(file)["detections"]
            tally = compare(read(records_path), reference)
        except (OSError, ValueError, KeyError, TypeError) as error:
            print(f"accuracy: {records_path}, {reference_path}: {error!r}", file=sys.stderr)
            return 2
        print(f"{records_path}: {tally}")
        total.add(tally)
    verdict = "passed" if total.passed() else "FAILED"
    print(f"accuracy {verdict}: {total} (limits: found >= {LEAST_FOUND:.0%}, invented <= {MOST_INVENTED:.0%})")
    return 0 if total.passed() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
