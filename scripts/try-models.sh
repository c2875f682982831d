#!/usr/bin/env bash
# Runs every model of a folder on real video with nothing set but `model=`, and says what it found.
#
# usage: ./dev run scripts/try-models.sh FOLDER [CLIP…]
#
# A model NAME.onnx runs with FOLDER/NAME.toml if there is one, else with models/sidecars/NAME.toml, else bare; and
# with FOLDER/NAME.txt or, if it is the only one, the folder's *.txt as labels. The clips default to bikes.mp4, then
# carphone_pristine.mp4 (a face) of $NV_CLIPS: the second is tried only if nothing is found in the first.
# Exit status 1 if a model does not run or finds nothing, 2 if it is used wrongly.
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if [ $# -eq 0 ] || [ ! -d "$1" ]; then
  echo "usage: $0 FOLDER [CLIP…]" >&2
  exit 2
fi
folder=$(cd "$1" && pwd)
shift
if [ $# -gt 0 ]; then
  clips=("$@")
else
  clips=("${NV_CLIPS:?names the folder of clips; ./dev run sets it}"/{bikes,carphone_pristine}.mp4)
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# place MODEL: the model in a folder of its own, with what belongs to it beside it. Prints its path there.
place() {
  local name sidecar labels home
  name=$(basename "$1" .onnx)
  home="$scratch/$name"
  mkdir -p "$home"
  cp "$1" "$home/"
  for sidecar in "$folder/$name.toml" "$repository/models/sidecars/$name.toml"; do
    [ ! -f "$sidecar" ] || { cp "$sidecar" "$home/$name.toml"; break; }
  done
  labels=("$folder"/*.txt)
  if [ -f "$folder/$name.txt" ]; then
    cp "$folder/$name.txt" "$home/$name.txt"
  elif [ ${#labels[@]} -eq 1 ] && [ -f "${labels[0]}" ]; then
    cp "${labels[0]}" "$home/$name.txt"
  fi
  echo "$home/$name.onnx"
}

# summary RECORDS: frames and detections per class, most first; exit status 1 if there are none.
summary() {
  python3 - "$1" <<'PYTHON'
import collections, json, sys

classes, statuses = collections.Counter(), collections.Counter()
with open(sys.argv[1], encoding="utf-8") as lines:
    for line in lines:
        record = json.loads(line)
        statuses[record["status"]] += 1
        classes.update(found["label"] for found in record["detections"])
frames = ", ".join(f"{count} {status}" for status, count in statuses.items()) or "none"
found = ", ".join(f"{label} {count}" for label, count in classes.most_common()) or "nothing"
print(f"frames: {frames}; detections: {found}")
sys.exit(not classes)
PYTHON
}

# try MODEL CLIP: exit status 0 if something was found.
try() {
  local records="$scratch/records.jsonl"
  rm -f "$records"
  gst-launch-1.0 --quiet filesrc location="$2" ! decodebin ! nvinference model="$1" ! nvsink location="$records" &&
    printf '%s on %s: ' "$(basename "$1")" "$(basename "$2")" &&
    summary "$records"
}

failures=0
shopt -s nullglob
models=("$folder"/*.onnx)
if [ ${#models[@]} -eq 0 ]; then
  echo "$0: no *.onnx in $folder" >&2
  exit 2
fi
for model in "${models[@]}"; do
  placed=$(place "$model")
  found=no
  for clip in "${clips[@]}"; do
    if try "$placed" "$clip"; then
      found=yes
      break
    fi
  done
  [ $found = yes ] || { echo "$(basename "$model"): FAILED" >&2; failures=$((failures + 1)); }
done
echo "${#models[@]} models, $failures failed"
[ $failures -eq 0 ]
