#!/bin/sh
# Two streams that know nothing of each other share one engine and its batches, because both name the same group. They
# could as well be in two pipelines of one program.
set -eu
repository=$(dirname "$0")/..
CLIPS=${NV_CLIPS:-$repository/.cache/clips}
CLIP_0=${CLIP_0:-$CLIPS/bikes.mp4}
CLIP_1=${CLIP_1:-$CLIPS/carphone_pristine.mp4}
MODEL=${MODEL:-$repository/models/nanodet-g-320.onnx}
RECORDS_0=${RECORDS_0:-group-a.jsonl}
RECORDS_1=${RECORDS_1:-group-b.jsonl}

exec gst-launch-1.0 \
  filesrc location="$CLIP_0" ! decodebin ! nvinference batch-group=wall model="$MODEL" ! nvsink location="$RECORDS_0" \
  filesrc location="$CLIP_1" ! decodebin ! nvinference batch-group=wall model="$MODEL" ! nvsink location="$RECORDS_1"
