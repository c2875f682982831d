#!/bin/sh
# Four files that loop, as stand-ins for cameras: time goes on where a file begins again, without a gap, and the numbers
# of the frames do, too. identity plays them at their own pace, and ends each after so many frames.
set -eu
repository=$(dirname "$0")/..
CLIPS=${NV_CLIPS:-$repository/.cache/clips}
CLIP_0=$(realpath "${CLIP_0:-$CLIPS/bikes.mp4}")
CLIP_1=$(realpath "${CLIP_1:-$CLIPS/carphone_pristine.mp4}")
CLIP_2=$(realpath "${CLIP_2:-$CLIPS/bikes.mp4}")
CLIP_3=$(realpath "${CLIP_3:-$CLIPS/carphone_pristine.mp4}")
MODEL=${MODEL:-$repository/models/nanodet-g-320.onnx}
FRAMES=${FRAMES:-600}

exec gst-launch-1.0 \
  nvbatcher name=b max-batch-size=4 max-latency=50000000 ! nvinference model="$MODEL" ! nvunbatcher name=u \
  nvfeed uri="file://$CLIP_0" loop=true ! b.sink_0 \
  nvfeed uri="file://$CLIP_1" loop=true ! b.sink_1 \
  nvfeed uri="file://$CLIP_2" loop=true ! b.sink_2 \
  nvfeed uri="file://$CLIP_3" loop=true ! b.sink_3 \
  u.src_0 ! identity sync=true eos-after="$FRAMES" ! nvsink location=wall-0.jsonl overflow=block \
  u.src_1 ! identity sync=true eos-after="$FRAMES" ! nvsink location=wall-1.jsonl overflow=block \
  u.src_2 ! identity sync=true eos-after="$FRAMES" ! nvsink location=wall-2.jsonl overflow=block \
  u.src_3 ! identity sync=true eos-after="$FRAMES" ! nvsink location=wall-3.jsonl overflow=block
