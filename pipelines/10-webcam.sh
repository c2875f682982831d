#!/bin/sh
# The camera of a laptop, or on USB: its records on standard output. When it is unplugged the pipeline waits for it.
set -eu
repository=$(dirname "$0")/..
MODEL=${MODEL:-$repository/models/nanodet-g-320.onnx}
DEVICE=${1:-${DEVICE:-/dev/video0}}
if [ ! -e "$DEVICE" ]; then
  echo "which camera? there is no $DEVICE; give the device: $0 /dev/videoN, or DEVICE=/dev/videoN" >&2
  exit 2
fi

# One stream needs no batcher.
exec gst-launch-1.0 -e -q nvfeed uri="v4l2://$DEVICE" feed-id=webcam ! nvinference model="$MODEL" ! nvsink location=-
