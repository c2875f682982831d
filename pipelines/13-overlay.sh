#!/bin/sh
# What is found on a file, drawn onto its picture: a PNG for every second of it.
set -eu
repository=$(dirname "$0")/..
CLIP=${CLIP:-${NV_CLIPS:-$repository/.cache/clips}/carphone_pristine.mp4}
MODEL=${MODEL:-$repository/models/nanodet-g-320.onnx}
STYLE=${STYLE:-boxes+labels+ids+tails+attributes+status}
PICTURES=${PICTURES:-overlay-%03d.png}

# queue: links to the batcher at once, which decodebin does too late for sink_0::feed-id.
exec gst-launch-1.0 \
  nvbatcher name=b sink_0::feed-id="${FEED:-carphone}" ! nvinference model="$MODEL" ! nvunbatcher name=u \
  filesrc location="$CLIP" ! decodebin ! queue ! b.sink_0 \
  u.src_0 ! nvoverlay style="$STYLE" ! videorate drop-only=true ! video/x-raw,framerate=1/1 ! videoconvert ! \
  pngenc ! multifilesink location="$PICTURES"
