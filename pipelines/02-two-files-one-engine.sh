#!/bin/sh
# Two files of different size share one engine; each has a file of records of its own.
set -eu
repository=$(dirname "$0")/..
CLIPS=${NV_CLIPS:-$repository/.cache/clips}
CLIP_0=${CLIP_0:-$CLIPS/bikes.mp4}
CLIP_1=${CLIP_1:-$CLIPS/carphone_pristine.mp4}
MODEL=${MODEL:-$repository/models/nanodet-g-320.onnx}
RECORDS_0=${RECORDS_0:-a.jsonl}
RECORDS_1=${RECORDS_1:-b.jsonl}

exec gst-launch-1.0 \
  nvbatcher name=b max-batch-size=4 max-latency=50000000 ! nvinference model="$MODEL" ! nvunbatcher name=u \
  filesrc location="$CLIP_0" ! decodebin ! b.sink_0  u.src_0 ! nvsink location="$RECORDS_0" overflow=block \
  filesrc location="$CLIP_1" ! decodebin ! b.sink_1  u.src_1 ! nvsink location="$RECORDS_1" overflow=block
