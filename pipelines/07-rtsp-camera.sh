#!/bin/sh
# One camera, for as long as you like: when it goes away the pipeline waits for it, and the records go on as another
# session. -m prints the messages that say so. Ctrl-C ends the stream in order.
#
# User and password may stand in the address. Without TLS the camera gets them with TLS_POLICY=allow-insecure only:
# whoever is in between could read them.
set -eu
repository=$(dirname "$0")/..
MODEL=${MODEL:-$repository/models/nanodet-g-320.onnx}
FRAMES=${FRAMES:--1}
RECORDS=${RECORDS:-camera.jsonl}
TLS_POLICY=${TLS_POLICY:-prefer}
NV_CAMERA=${1:-${NV_CAMERA:-}}
if [ -z "$NV_CAMERA" ]; then
  echo "which camera? give its address: $0 rtsp://HOST/PATH, or NV_CAMERA=rtsp://HOST/PATH" >&2
  exit 2
fi

# identity ends the stream after so many frames; -1 is never.
exec gst-launch-1.0 -e -m \
  nvbatcher name=b ! nvinference model="$MODEL" ! nvunbatcher name=u \
  nvfeed uri="$NV_CAMERA" feed-id=camera tls-policy="$TLS_POLICY" ! b.sink_0 \
  u.src_0 ! identity eos-after="$FRAMES" ! nvsink location="$RECORDS"
