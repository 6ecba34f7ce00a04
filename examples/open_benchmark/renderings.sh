#!/usr/bin/env bash
# Builds the benchmark of renderings: every painting of examples/pictures over every photograph, by
# the builtin painter. The contents are photographs, and the same for all styles.
#
#   examples/open_benchmark/renderings.sh [OUT]      (default: renderings)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-renderings}
python "$here/../painted_photographs.py" "$here/../pictures" "$out/squares"
# the middle of each photograph; its corners are left out
grep -e '-0", "license"' "$out/squares/pairs.jsonl" \
  | megastyle synth --size 256 --overwrite -o "$out/pictures"
megastyle eval "$out/pictures" --make-benchmark "$out/bench" --styles 14 --per-style 30 \
  --content-label content --shared-contents --overwrite
