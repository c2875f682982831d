#!/usr/bin/env python3
"""Measures trackers against boxes that people checked, on the same detections.

usage: mot.py --truth vtest-gt.txt --records RECORDS.jsonl --ours NAME=TRACKS.txt [--ours ...]

The truth is in the format of the MOT challenge (tests/data/mot/README.md); only its frames count, frame n being the
record of seq n - 1. RECORDS are those of `nvsink` behind `nvinference` with a low score-threshold: they are what the
public trackers of the PyPI package `trackers` get. TRACKS are ours, made of the same records by examples/track.rs, or by
`nvtrack` itself: a file of records that have `track-id`.

A pair of a track and a person needs an IoU of 0.5. `switches` counts identities that change, `fragments` interruptions,
as in the CLEAR MOT measures of `motmetrics`. The verdict: our default, bytetrack, is not worse than the public bytetrack
in IDF1, in switches and in MOTA, ours of SORT not than theirs, and iou is only shown. Exit status 1 if it is.
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
METRICS = {"num_switches": "switches", "num_fragmentations": "fragments", "idf1": "IDF1", "mota": "MOTA"}
# The last places of a ratio say nothing: a person more or less on one frame of a hundred and twenty.
TOLERANCE = 0.001


def truth(path):
    """Frame -> [(id, [x, y, width, height])]."""
    frames = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            frame, identity, *box = line.split(",")[:6]
            frames.setdefault(int(frame), []).append((int(identity), [float(side) for side in box]))
    return frames


def records(path):
    """Frame -> detections of persons of a file of records."""
    frames = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            found = [one for one in record["detections"] if one["label"] == "person"]
            frames[record["seq"] + 1] = found
    return frames


def box(found):
    return [found["box"][side] for side in ("x", "y", "width", "height")]


def ours(path):
    if path.endswith(".txt"):
        return truth(path)
    confirmed = lambda one: one.get("track-state") == "confirmed"
    frames = records(path)
    return {frame: [(one["track-id"], box(one)) for one in found if confirmed(one)] for frame, found in frames.items()}


def theirs(tracker, frames):
    """What a tracker of the package `trackers` says of the detections."""
    said = {}
    for frame in sorted(frames):
        found = frames[frame]
        corners = numpy.array([[x, y, x + w, y + h] for x, y, w, h in map(box, found)], dtype=float).reshape(-1, 4)
        detections = supervision.Detections(
            xyxy=corners,
            confidence=numpy.array([one["confidence"] for one in found], dtype=float),
            class_id=numpy.zeros(len(found), dtype=int),
        )
        tracked = tracker.update(detections)
        rows = zip(tracked.tracker_id, tracked.xyxy) if len(tracked) else ()
        said[frame] = [(int(i), [x1, y1, x2 - x1, y2 - y1]) for i, (x1, y1, x2, y2) in rows if i >= 0]
    return said


def measured(said, wanted):
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for frame in sorted(wanted):
        people, tracks = wanted[frame], said.get(frame, [])
        distances = [[distance(place, other) for _, other in tracks] for _, place in people]
        accumulator.update([i for i, _ in people], [i for i, _ in tracks], distances)
    row = motmetrics.metrics.create().compute(accumulator, metrics=list(METRICS), name="it").loc["it"]
    return {short: float(row[name]) for name, short in METRICS.items()}


def distance(one, other):
    """How far two [x, y, width, height] are apart, 0 to 1; no number if too far to be of one person."""
    corners = [(x, y, x + width, y + height) for x, y, width, height in (one, other)]
    overlap = iou(*corners)
    return 1 - overlap if overlap >= LEAST_IOU else numpy.nan


def not_worse(one, other):
    fewer = one["switches"] <= other["switches"]
    return fewer and all(one[name] >= other[name] - TOLERANCE for name in ("IDF1", "MOTA"))


def publics(first, last, frames, settings):
    frames = {frame: found for frame, found in frames.items() if first <= frame <= last}
    made = {
        "public sort": public.SORTTracker(),
        "public bytetrack": public.ByteTrackTracker(),
        "public bytetrack 2": public.ByteTrackTracker(track_activation_threshold=0.6, high_conf_det_threshold=0.5),
        "public bytetrack 3": public.ByteTrackTracker(track_activation_threshold=0.5, high_conf_det_threshold=0.4),
        "public oc-sort": public.OCSORTTracker(),
    }
    return {name: theirs(tracker, frames) for name, tracker in made.items()}


def main(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--truth", required=True)
    parser.add_argument("--records", required=True)
    parser.add_argument("--ours", action="append", required=True)
    chosen = parser.parse_args(arguments)
    wanted, found = truth(chosen.truth), records(chosen.records)
    rows = {}
    for one in chosen.ours:
        name, path = one.split("=", 1)
        rows[f"ours {name}"] = measured(ours(path), wanted)
    for name, said in publics(min(wanted), max(wanted), found, {}).items():
        rows[name] = measured(said, wanted)
    people = {identity for frame in wanted.values() for identity, _ in frame}
    print(f"{len(wanted)} frames, {len(people)} people, {sum(map(len, wanted.values()))} boxes")
    print(f"{'':18}" + "".join(f"{name:>11}" for name in METRICS.values()))
    for name, row in rows.items():
        shown = [f"{row[key]:11.0f}" if key in ("switches", "fragments") else f"{row[key]:11.3f}" for key in row]
        print(f"{name:18}" + "".join(shown))
    pairs = [("sort", "public sort"), ("bytetrack", "public bytetrack")]
    worse = [ours for ours, theirs in pairs if f"ours {ours}" in rows and not not_worse(rows[f"ours {ours}"], rows[theirs])]
    print("mot passed: ours is not worse" if not worse else f"mot FAILED: worse than the public one: {', '.join(worse)}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
