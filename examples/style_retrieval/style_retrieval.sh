#!/usr/bin/env bash
# StyleRetrieval of MegaStyle, rebuilt: from a gallery of style prompts to a sealed benchmark and a table.
#
#   examples/style_retrieval/style_retrieval.sh captions.jsonl [OUT]     (default: style_retrieval)
#
# The paper's size is OVERALL=800 FINE=3 CONTENTS=32: 76,800 pictures. What it does not say, and what is
# chosen here: README.md beside this script.
#
# OVERALL, FINE   overall styles, and prompts of each (default: 12 and 3)
# CONTENTS        contents that all styles share: 4, 8, 16 or 32 (default: 8)
# QUERIES         contents of each style that are queries (default: a quarter)
# RENDER          options of megastyle synth, such as "--model Qwen/Qwen-Image --size 512"; empty: the
#                 builtin painter, which restyles PHOTOS
# PHOTOS          photographs for the builtin painter (default: examples/pictures/contents)
# SYSTEMS         encoders of the table (default: builtin statistics edges imagenet random)
# TEXT_MODEL      sentence-transformers model that tells prompts apart (default: builtin)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
gallery=${1:?give the records with style prompts, as megastyle caption writes them}
out=${2:-style_retrieval}
overall=${OVERALL:-12} fine=${FINE:-3} contents=${CONTENTS:-8}
styles=$((overall * fine)) pictures=$((overall * fine * contents))
read -ra render <<< "${RENDER:-}"
mkdir -p "$out"

echo "$overall overall styles x $fine prompts x $contents contents: $pictures pictures."
echo "At 10 s a picture (20B weights, 512 px, 40 steps, one H200 by calculation) that is" \
  "$((pictures * 10 / 3600)) GPU hours; the builtin painter makes some ten a second."

echo "1. Draw the styles; held_out.json lists what must not be in any training set."
python "$here/styles.py" "$gallery" --overall "$overall" --fine "$fine" \
  ${TEXT_MODEL:+--text-model "$TEXT_MODEL"} -o "$out/styles.jsonl" --held-out "$out/held_out.json"

echo "2. Take the contents, the same for all styles."
if [ "${#render[@]}" -gt 0 ]; then
  awk -v step=$((32 / contents)) '(NR - 1) % step == 0' "$here/contents.jsonl" > "$out/contents.jsonl"
else
  megastyle caption "${PHOTOS:-$here/../pictures/contents}" --kind content --limit "$contents" \
    -q --overwrite -o "$out/contents.jsonl"
fi

echo "3. Render each style with each content."
megastyle pair "$out/styles.jsonl" --contents "$out/contents.jsonl" --per-style "$contents" \
  -q --overwrite -o "$out/pairs.jsonl"
megastyle synth "$out/pairs.jsonl" --resume "${render[@]}" -o "$out/pictures"

echo "4. Leave out styles that the painter did not keep."
python "$here/gate.py" "$out/pictures" -o "$out/kept.jsonl"
kept=$(python -c 'import json, sys; print(len({json.loads(line)["style_id"] for line in open(sys.argv[1])}))' "$out/kept.jsonl")

echo "5. Seal the benchmark: $kept of $styles styles."
megastyle eval "$out/kept.jsonl" --make-benchmark "$out/bench" --styles "$kept" \
  --per-style "$contents" --queries "${QUERIES:-$((contents / 4))}" --shared-contents \
  --group overall_style --overwrite

echo "6. Score."
read -ra systems <<< "${SYSTEMS:-builtin statistics edges imagenet random}"
megastyle eval --benchmark "$out/bench" "${systems[@]/#/--system=}" -q --overwrite \
  -o "$out/scores.json" --page "$out/scores.html" --table "$out/scores.md"
cat "$out/scores.md"
