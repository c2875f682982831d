#!/bin/sh
# Four cameras, one engine. A camera that is away, or refuses the password, is tried again and again, and the others do
# not notice. Passwords: see 07-rtsp-camera.sh.
set -eu
repository=$(dirname "$0")/..
MODEL=${MODEL:-$repository/models/nanodet-g-320.onnx}
FRAMES=${FRAMES:--1}
TLS_POLICY=${TLS_POLICY:-prefer}
# The addresses in the variable are separated by blanks.
[ $# -gt 0 ] || set -- ${NV_CAMERAS:-}
if [ $# -ne 4 ]; then
  echo "which cameras? give four addresses: $0 rtsp://HOST/PATH …, or NV_CAMERAS='rtsp://HOST/PATH …'" >&2
  exit 2
fi

# max-latency: no frame waits longer than 50 ms for those of other cameras.
exec gst-launch-1.0 -e \
  nvbatcher name=b max-batch-size=4 max-latency=50000000 ! nvinference model="$MODEL" ! nvunbatcher name=u \
  nvfeed uri="$1" feed-id=camera-0 tls-policy="$TLS_POLICY" ! b.sink_0 \
  nvfeed uri="$2" feed-id=camera-1 tls-policy="$TLS_POLICY" ! b.sink_1 \
  nvfeed uri="$3" feed-id=camera-2 tls-policy="$TLS_POLICY" ! b.sink_2 \
  nvfeed uri="$4" feed-id=camera-3 tls-policy="$TLS_POLICY" ! b.sink_3 \
  u.src_0 ! identity eos-after="$FRAMES" ! nvsink location=camera-0.jsonl \
  u.src_1 ! identity eos-after="$FRAMES" ! nvsink location=camera-1.jsonl \
  u.src_2 ! identity eos-after="$FRAMES" ! nvsink location=camera-2.jsonl \
  u.src_3 ! identity eos-after="$FRAMES" ! nvsink location=camera-3.jsonl
