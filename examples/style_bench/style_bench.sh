#!/usr/bin/env bash
# StyleBench of StyleShot: pictures by a stylist, and the measures that papers report on it.
#
#   examples/style_bench/style_bench.sh StyleBench/ [OUT]     (default: style_bench)
#
# StyleBench/ is the unpacked folder that the authors of StyleShot released (linked from the README of
# open-mmlab/StyleShot); the licence of its pictures is not stated. What the papers do not say, and what
# is chosen here: README.md beside this script.
#
# TASK        image: content pictures are restyled; text: prompts are painted (default: image)
# REFERENCES  references of each style that are used (default: 1)
# SEEDS       pictures of each pair (default: 1; the builtin stylist makes the same one each time)
# TRANSFER    options of megastyle transfer, such as "--model FLUX.1-dev --lora megastyle_flux.safetensors";
#             empty: the builtin stylist
# PROTOCOLS   measures as of megastyle eval --protocol (default: "leakage content-distance megastyle",
#             with text: "leakage clip-text clip-image megastyle"); csd=FILE takes a checkpoint of CSD
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bench=${1:?give the unpacked folder of StyleBench}
out=${2:-style_bench}
task=${TASK:-image}
read -ra transfer <<< "${TRANSFER:-}"
case $task in
  image) default="leakage content-distance megastyle" ;;
  text) default="leakage clip-text clip-image megastyle" ;;
  *) echo "error: TASK is $task: give image or text" >&2; exit 2 ;;
esac
read -ra protocols <<< "${PROTOCOLS:-$default}"

echo "1. Plan."
python "$here/plan.py" "$bench" --references "${REFERENCES:-1}" --seeds "${SEEDS:-1}" -o "$out/plan"

echo "2. Paint."
megastyle transfer "$out/plan/$task.jsonl" "${transfer[@]}" --resume -o "$out/$task"

echo "3. Measure."
megastyle eval "$out/$task" --reference "$out/plan/references.jsonl" --pair-by style_id \
  "${protocols[@]/#/--protocol=}" --overwrite -o "$out/$task.json"
python -c '
import json, sys
for row in json.load(open(sys.argv[1]))["protocols"]:
    models = " and ".join(each["model"] for each in row["models"])
    print(row["protocol"], row["value"], "(random", str(row.get("random")) + ")", row["scale"], models, sep="  ")
' "$out/$task.json"
