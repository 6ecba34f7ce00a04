#!/usr/bin/env bash
# Pictures in, an evaluated style transfer out: every command of the toolkit, in order.
#
#   examples/pipeline.sh [OUT]          writes OUT/ (default: demo)
#
# STYLES, CONTENTS            folders of pictures (default: examples/pictures/)
# DEMO_STYLES, DEMO_CONTENTS  use only the first so many of each
# PER_STYLE                   contents rendered in each style (default: 6)
# SIZE                        longer side of the rendered pictures in pixels (default: 384)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-demo}
styles=${STYLES:-$here/pictures/styles}
contents=${CONTENTS:-$here/pictures/contents}
rm -rf "$out" && mkdir -p "$out"

# 1. Describe the style pictures; drop duplicates; cluster, and keep a balanced choice.
megastyle caption "$styles" --kind style --limit "${DEMO_STYLES:-1000}" \
  | megastyle dedup --rejected "$out/duplicates.jsonl" \
  | megastyle cluster --sample 12 -o "$out/styles.jsonl"

# 2. Describe the content pictures, the same way.
megastyle caption "$contents" --kind content --limit "${DEMO_CONTENTS:-1000}" \
  | megastyle dedup --on content -o "$out/contents.jsonl"

# 3. Cross styles with contents and render every pair.
megastyle pair "$out/styles.jsonl" --contents "$out/contents.jsonl" \
    --per-style "${PER_STYLE:-6}" -o "$out/pairs.jsonl"
megastyle synth "$out/pairs.jsonl" --size "${SIZE:-384}" -o "$out/synth"

# 4. Find pictures by style: which renderings look like each style picture?
megastyle retrieve "$out/styles.jsonl" --index "$out/synth" --top 6 \
  -o "$out/retrieved.jsonl" --page "$out/retrieved.html"

# 5. Score. Three descriptors, of which the last two know nothing of how the pictures were made.
megastyle eval "$out/synth" --each -o "$out/scores.jsonl"
megastyle eval "$out/scores.jsonl" -o "$out/scores.json" \
  --page "$out/index.html" --sheet "$out/sheet.png"
echo
echo "Are the styles kept apart? Nearest neighbour of the same style among other contents:"
for descriptor in edges imagenet; do
  megastyle eval "$out/synth" --backend "$descriptor" -q -o "$out/scores.$descriptor.json"
done
