#!/bin/sh
# Three live feeds of different rate, size and format. When the engine cannot keep up, a live feed drops its
# oldest frames: what comes out stays recent, and `lost.upstream` in the records says what is missing.
set -eu
repository=$(dirname "$0")/..
MODEL=${MODEL:-$repository/models/nanodet-g-320.onnx}
FRAMES=${FRAMES:-300}

exec gst-launch-1.0 \
  nvbatcher name=b max-latency=20000000 sink_0::feed-id=door sink_1::feed-id=yard sink_2::feed-id=roof \
  ! nvinference model="$MODEL" ! nvunbatcher name=u \
  videotestsrc is-live=true num-buffers="$FRAMES" ! video/x-raw,format=I420,width=640,height=480,framerate=30/1 ! b.sink_0 \
  videotestsrc is-live=true num-buffers="$FRAMES" pattern=ball ! video/x-raw,format=NV12,width=1280,height=720,framerate=30/1 ! b.sink_1 \
  videotestsrc is-live=true num-buffers="$FRAMES" pattern=snow ! video/x-raw,format=RGB,width=320,height=240,framerate=15/1 ! b.sink_2 \
  u.src_0 ! nvsink location=door.jsonl \
  u.src_1 ! nvsink location=yard.jsonl \
  u.src_2 ! nvsink location=roof.jsonl
