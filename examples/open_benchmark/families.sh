#!/usr/bin/env bash
# Builds the benchmark of icon families, which lies in families/, again from its package.
#
#   pip install resvg-py==0.5.0
#   examples/open_benchmark/families.sh [OUT]        (default: families; needs npm)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-families}
mkdir -p "$out"
package=$(npm pack --silent --pack-destination "$out" @iconify/json@2.2.535)
"${PYTHON:-python}" "$here/families.py" "$out/$package" "$out/pictures"
megastyle eval "$out/pictures" --make-benchmark "$out/bench" --styles 48 --per-style 24 \
  --group design --one-per-group --overwrite
