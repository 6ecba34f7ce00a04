#!/usr/bin/env bash
# Builds the benchmark of typefaces: styles of shape without color, from a package of free fonts.
#
#   apt-get install fonts-aenigma
#   examples/open_benchmark/typefaces.sh [OUT]       (default: typefaces)
#
# FONTS   folder of .ttf files (default: where Debian installs fonts-aenigma)
# STYLES  typefaces, one of each design (default: 240)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-typefaces}
python "$here/typefaces.py" "${FONTS:-/usr/share/fonts/truetype/aenigma}" "$out/pictures"
megastyle eval "$out/pictures" --make-benchmark "$out/bench" --styles "${STYLES:-240}" --per-style 24 \
  --group design --one-per-group --shared-contents --overwrite
