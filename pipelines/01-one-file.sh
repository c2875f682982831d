#!/bin/sh
# One file, one feed: a record per frame, in order, none missing.
set -eu
repository=$(dirname "$0")/..
CLIP=${CLIP:-${NV_CLIPS:-$repository/.cache/clips}/carphone_pristine.mp4}
MODEL=${MODEL:-$repository/models/nanodet-g-320.onnx}
RECORDS=${RECORDS:-one.jsonl}

# max-frames-per-feed: a single file may fill a whole batch by itself.
exec gst-launch-1.0 \
  nvbatcher name=b max-batch-size=4 max-frames-per-feed=4 ! nvinference model="$MODEL" ! nvunbatcher name=u \
  filesrc location="$CLIP" ! decodebin ! b.sink_0 \
  u.src_0 ! nvsink location="$RECORDS" overflow=block
