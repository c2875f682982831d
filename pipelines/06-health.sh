#!/bin/sh
# Two feeds, one of which stops for a while: nvhealth says so, once, and of no other feed. The door's frames come
# through a pipe from the function below, which stops until the stall is reported; the yard is a live test source.
# Of what gst-launch-1.0 -m prints, the messages nv-health are shown.
set -eu
repository=$(dirname "$0")/..
MODEL=${MODEL:-$repository/models/nanodet-g-320.onnx}

messages=$(mktemp)
trap 'rm -f "$messages"' EXIT

# frames COUNT: so many grey frames of 64 x 48, ten a second.
frames() {
  left=$1
  while [ "$left" -gt 0 ]; do
    head -c 3072 /dev/zero
    sleep 0.1
    left=$((left - 1))
  done
}

door() {
  frames 15
  tries=300
  until [ "$tries" -eq 0 ] || grep -q feed-stalled "$messages"; do
    sleep 0.2
    tries=$((tries - 1))
  done
  frames 15
}

door | gst-launch-1.0 -m \
  nvbatcher name=b sink_0::feed-id=door sink_1::feed-id=yard \
  ! nvinference model="$MODEL" ! nvunbatcher name=u \
  fdsrc fd=0 blocksize=3072 do-timestamp=true ! rawvideoparse format=gray8 width=64 height=48 framerate=10/1 ! b.sink_0 \
  videotestsrc is-live=true num-buffers=80 ! video/x-raw,format=GRAY8,width=64,height=48,framerate=10/1 ! b.sink_1 \
  u.src_0 ! nvhealth stall-timeout=3000000000 lag-threshold=0 ! fakesink async=false sync=false \
  u.src_1 ! nvhealth stall-timeout=30000000000 lag-threshold=0 ! fakesink async=false sync=false \
  | grep --line-buffered nv-health | tee "$messages"
