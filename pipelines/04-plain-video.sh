#!/bin/sh
# nvinference in an ordinary pipeline, without batcher: each frame is a batch of one. The records go to stdout.
set -eu
repository=$(dirname "$0")/..
CLIP=${CLIP:-${NV_CLIPS:-$repository/.cache/clips}/carphone_pristine.mp4}
MODEL=${MODEL:-$repository/models/nanodet-g-320.onnx}

# Quiet, so that nothing but records reaches stdout.
exec gst-launch-1.0 --quiet \
  filesrc location="$CLIP" ! decodebin ! nvinference model="$MODEL" ! nvsink location=- overflow=block
