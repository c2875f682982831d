#!/bin/sh
# An identity for everything that is found, from frame to frame. Every other frame is inferred; the ones between get the
# boxes the tracker expects.
set -eu
repository=$(dirname "$0")/..
CLIP=${CLIP:-${NV_CLIPS:-$repository/.cache/clips}/bikes.mp4}
MODEL=${MODEL:-$repository/models/nanodet-g-320.onnx}
RECORDS=${RECORDS:-tracks.jsonl}

# queue: links to the batcher at once, which decodebin does too late for sink_0::interval.
# score-threshold: bytetrack goes on with a track by what the detector is unsure of, too.
exec gst-launch-1.0 \
  nvbatcher name=b sink_0::interval=1 ! nvinference model="$MODEL" score-threshold=0.3 ! nvunbatcher name=u \
  filesrc location="$CLIP" ! decodebin ! queue ! b.sink_0 \
  u.src_0 ! nvtrack ! nvsink location="$RECORDS" overflow=block
