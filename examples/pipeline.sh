#!/usr/bin/env bash
# From two folders of pictures to rendered pairs and their evaluation: the whole pipeline, in order.
#
#   examples/pipeline.sh [OUT]          writes OUT/ (default: demo), replacing an earlier run
#
# STYLES, CONTENTS            folders of pictures (default: examples/pictures/)
# DEMO_STYLES, DEMO_CONTENTS  use only the first N of each
# PER_STYLE                   contents rendered in each style (default: 6)
# SIZE                        longer side of the rendered pictures in pixels (default: 384)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-demo}
styles=${STYLES:-$here/pictures/styles}
contents=${CONTENTS:-$here/pictures/contents}

# Only a folder created by this script is replaced.
if [ -e "$out" ] && [ ! -e "$out/.pipeline" ]; then
  echo "$out exists and was not created by this script: name another folder" >&2
  exit 2
fi
rm -rf "$out" && mkdir -p "$out" && touch "$out/.pipeline"

echo "1. Describe the style pictures; drop duplicates; cluster, and keep a balanced sample."
megastyle caption "$styles" --kind style --limit "${DEMO_STYLES:-1000}" \
  | megastyle dedup --rejected "$out/duplicates.jsonl" \
  | megastyle cluster --sample 12 --xy -o "$out/styles.jsonl" --page "$out/styles.html"

echo "2. Describe the content pictures; drop duplicates."
megastyle caption "$contents" --kind content --limit "${DEMO_CONTENTS:-1000}" \
  | megastyle dedup --on content -o "$out/contents.jsonl"

echo "3. Pair styles with contents, and render every pair."
megastyle pair "$out/styles.jsonl" --contents "$out/contents.jsonl" \
    --per-style "${PER_STYLE:-6}" -o "$out/pairs.jsonl"
megastyle synth "$out/pairs.jsonl" --size "${SIZE:-384}" -o "$out/synth"

echo "4. Search by style: which renderings look like each style picture?"
megastyle retrieve "$out/styles.jsonl" --index "$out/synth" --top 6 \
  -o "$out/found.jsonl" --page "$out/found.html"

echo "5. Evaluate: is each picture's nearest neighbour of another content in its own style (mAP@1)?"
echo "   With three encoders; the last two are independent of how the pictures were made."
megastyle eval "$out/synth" --each -q -o "$out/scored.jsonl" \
  --page "$out/index.html" --sheet "$out/sheet.png"
megastyle eval "$out/scored.jsonl" -o "$out/scores.json" --page "$out/report.html"
megastyle eval "$out/synth" --backend edges -o "$out/scores.edges.json"
megastyle eval "$out/synth" --backend imagenet -o "$out/scores.imagenet.json"

echo
echo "Open:        $out/index.html  (search, styles, close-ups)   and   $out/sheet.png"
echo "Also:        $out/report.html  (scores)   $out/found.html  (by style)"
echo "             $out/styles.html  (map of styles)   $out/synth/"
