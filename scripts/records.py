"""What the scripts here share: reading records of `nvsink` and comparing their boxes."""

import json


def read(path):
    """The records of a JSON Lines file by sequence number. ValueError names file and line of a bad one."""
    records = {}
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                seq = record["seq"]
                detections = [detection(found) for found in record["detections"]]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}:{number}: not a record: {error!r}") from error
            if seq in records:
                raise ValueError(f"{path}:{number}: a second record of frame {seq}")
            records[seq] = detections
    return records


def detection(found):
    """A record's detection as (label, confidence, [x1, y1, x2, y2] in frame pixels)."""
    box = found["box"]
    x, y = box["x"], box["y"]
    return found["label"], found["confidence"], [x, y, x + box["width"], y + box["height"]]


def iou(one, other):
    """Intersection over union of two [x1, y1, x2, y2]."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (area(one) + area(other) - shared)


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def pairs(ours, theirs, fits, rank):
    """Pairs of indices that `fits`, each index once, greedily by descending `rank`."""
    found = [
        (rank(one, other), i, j)
        for i, one in enumerate(ours)
        for j, other in enumerate(theirs)
        if fits(one, other)
    ]
    chosen, used_ours, used_theirs = [], set(), set()
    for _, i, j in sorted(found, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if i not in used_ours and j not in used_theirs:
            chosen.append((i, j))
            used_ours.add(i)
            used_theirs.add(j)
    return chosen
