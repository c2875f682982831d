#!/usr/bin/env python3
"""Measures trackers against boxes that were checked by hand, on the same detections.

usage: mot.py --truth vtest-gt.txt --records RECORDS.jsonl --ours NAME=TRACKS [--ours ...]

The truth is in the format of the MOT challenge (tests/data/mot/README.md); only its frames count, frame n being the record
of seq n - 1. RECORDS are those of `nvsink` behind `nvinference` with a low score-threshold: what the public trackers, of the
PyPI package `trackers`, get. TRACKS are ours: records of `nvtrack ! nvsink` over the same detections (.jsonl), or what
examples/track.rs made of RECORDS (.txt).

The public trackers run as the package has them, and once more with our thresholds (detections of 0.3 and above, confident
from 0.4; SORT, which has no rounds, gets the confident ones only). A pair of a track and a person needs an IoU of 0.5.
switches: identities that change; fragments: interruptions; both as the CLEAR MOT measures of `motmetrics` have them.

Each of ours is held against the better of its public namesakes, by IDF1: it must not have more switches, nor more than
0.005 less IDF1 or MOTA; iou, which has none, is only shown, and so are fragments: who follows fewer people has fewer. Exit status 1 if one is worse, 2 if a file cannot be read.
"""

import argparse
import json
import sys

import motmetrics
import numpy
import supervision
import trackers as public

from records import iou

LEAST_IOU = 0.5
LOW, HIGH = 0.3, 0.4
METRICS = {"num_switches": "switches", "num_fragmentations": "fragments", "idf1": "IDF1", "mota": "MOTA"}
# Three boxes of the seven hundred: how a keyframe is drawn.
TOLERANCE = 0.005


def truth(path):
    """Frame -> [(id, [x, y, width, height])]."""
    frames = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            frame, identity, *place = line.split(",")[:6]
            frames.setdefault(int(frame), []).append((int(identity), [float(side) for side in place]))
    return frames


def records(path):
    """Frame -> detections of persons of a file of records."""
    frames = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            frames[record["seq"] + 1] = [one for one in record["detections"] if one["label"] == "person"]
    return frames


def box(found):
    return [found["box"][side] for side in ("x", "y", "width", "height")]


def ours(path):
    """Frame -> tracks that have been confirmed, of either form."""
    if path.endswith(".txt"):
        return truth(path)
    said = {}
    for frame, found in records(path).items():
        confirmed = [one for one in found if one.get("track-state") in ("confirmed", "coasted")]
        said[frame] = [(one["track-id"], box(one)) for one in confirmed]
    return said


def theirs(tracker, frames, least):
    """What a tracker of the package `trackers` says of the detections of that confidence and above."""
    said = {}
    for frame in sorted(frames):
        found = [one for one in frames[frame] if one["confidence"] >= least]
        corners = [[x, y, x + width, y + height] for x, y, width, height in map(box, found)]
        tracked = tracker.update(
            supervision.Detections(
                xyxy=numpy.array(corners, dtype=float).reshape(-1, 4),
                confidence=numpy.array([one["confidence"] for one in found], dtype=float),
                class_id=numpy.zeros(len(found), dtype=int),
            )
        )
        rows = zip(tracked.tracker_id, tracked.xyxy) if len(tracked) else ()
        # -1 is what is not confirmed.
        said[frame] = [(int(i), [x1, y1, x2 - x1, y2 - y1]) for i, (x1, y1, x2, y2) in rows if i >= 0]
    return said


def publics(frames):
    """Name -> what it says; the name begins with the algorithm."""
    made = {
        "sort": (public.SORTTracker(), 0.25),
        "sort, our thresholds": (public.SORTTracker(track_activation_threshold=HIGH), HIGH),
        "bytetrack": (public.ByteTrackTracker(), 0.0),
        "bytetrack, our thresholds": (
            public.ByteTrackTracker(track_activation_threshold=HIGH, high_conf_det_threshold=HIGH),
            LOW,
        ),
        "oc-sort, our thresholds": (public.OCSORTTracker(high_conf_det_threshold=HIGH), LOW),
    }
    return {name: theirs(tracker, frames, least) for name, (tracker, least) in made.items()}


def distance(one, other):
    """How far two [x, y, width, height] are apart, 0 to 1; no number if too far to be of one person."""
    corners = [(x, y, x + width, y + height) for x, y, width, height in (one, other)]
    overlap = iou(*corners)
    return 1 - overlap if overlap >= LEAST_IOU else numpy.nan


def measured(said, wanted):
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for frame in sorted(wanted):
        people, tracks = wanted[frame], said.get(frame, [])
        distances = [[distance(place, other) for _, other in tracks] for _, place in people]
        accumulator.update([i for i, _ in people], [i for i, _ in tracks], distances)
    row = motmetrics.metrics.create().compute(accumulator, metrics=list(METRICS), name="it").loc["it"]
    return {short: float(row[name]) for name, short in METRICS.items()}


def is_worse(one, other):
    more = any(one[name] > other[name] for name in ("switches", "fragments"))
    return more or any(one[name] < other[name] - TOLERANCE for name in ("IDF1", "MOTA"))


def worse(our_rows, their_rows):
    """Names of ours that are worse in anything than any of their namesakes."""
    found = []
    for name, row in our_rows.items():
        namesakes = [other for its_name, other in their_rows.items() if its_name.split(",")[0] == name]
        if any(is_worse(row, other) for other in namesakes):
            found.append(name)
    return found


def show(name, row):
    counts = "".join(f"{row[key]:11.0f}" for key in ("switches", "fragments"))
    print(f"{name:34}{counts}{row['IDF1']:11.3f}{row['MOTA']:11.3f}")


def main(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--truth", required=True)
    parser.add_argument("--records", required=True)
    parser.add_argument("--ours", action="append", required=True)
    chosen = parser.parse_args(arguments)
    try:
        wanted, found = truth(chosen.truth), records(chosen.records)
        our_tracks = {name: ours(path) for name, path in (one.split("=", 1) for one in chosen.ours)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"mot: {error!r}", file=sys.stderr)
        return 2
    looked_at = {frame: seen for frame, seen in found.items() if frame <= max(wanted)}
    our_rows = {name: measured(said, wanted) for name, said in our_tracks.items()}
    their_rows = {name: measured(said, wanted) for name, said in publics(looked_at).items()}
    people = {identity for frame in wanted.values() for identity, _ in frame}
    print(f"{len(wanted)} frames, {len(people)} people, {sum(map(len, wanted.values()))} boxes")
    print(" " * 34 + "".join(f"{name:>11}" for name in METRICS.values()))
    for name, row in our_rows.items():
        show(f"nvtrack {name}", row)
    for name, row in their_rows.items():
        show(f"public {name}", row)
    losers = worse(our_rows, their_rows)
    print(f"mot FAILED: worse than public: {', '.join(losers)}" if losers else "mot passed: ours is not worse")
    return 1 if losers else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
