#!/bin/sh
# A model of your own: MODEL is the ONNX file, a sidecar of the same name beside it says what the file does not
# (docs/models.md). Properties weigh more than the sidecar. Without MODEL, the committed model with other settings.
set -eu
repository=$(dirname "$0")/..
CLIP=${CLIP:-${NV_CLIPS:-$repository/.cache/clips}/carphone_pristine.mp4}
MODEL=${MODEL:-$repository/models/nanodet-g-320.onnx}
DECODER=${DECODER:-auto}
SCORE=${SCORE:-0.3}
RECORDS=${RECORDS:-own.jsonl}

exec gst-launch-1.0 \
  filesrc location="$CLIP" ! decodebin \
  ! nvinference model="$MODEL" decoder="$DECODER" score-threshold="$SCORE" max-detections=20 \
  ! nvsink location="$RECORDS" overflow=block
