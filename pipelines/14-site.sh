#!/bin/sh
# A whole site from one file: sixteen feeds, one engine, a file of records for each. While it runs, the page at ADDRESS
# shows every feed. With real cameras one would say `nextvision run` (docs/operating.md); this needs no program but GStreamer's.
set -eu
repository=$(dirname "$0")/..
SITE=${SITE:-$repository/pipelines/site.toml}
ADDRESS=${ADDRESS:-}

# -e: at Ctrl-C, what is on its way is delivered.
exec gst-launch-1.0 -e nvruntime config="$SITE" ${ADDRESS:+metrics-address="$ADDRESS"}
