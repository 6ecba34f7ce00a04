#!/usr/bin/env bash
# The open benchmark of typefaces: styles of shape without color, from a package of free fonts.
#
#   apt-get install fonts-aenigma
#   examples/open_benchmark/typefaces.sh [OUT]       (default: typefaces)
#
# FONTS    folder of .ttf files (default: where Debian installs fonts-aenigma)
# STYLES   typefaces, one of each design (default: 240)
# SYSTEMS  encoders of the table: backends, models, or NAME=package.module:Class
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-typefaces}
content=content=megastyle_cli.models.builtin.imagenet:ContentDescriptor
read -ra systems <<< "${SYSTEMS:-builtin statistics edges imagenet colors random $content}"

python "$here/typefaces.py" "${FONTS:-/usr/share/fonts/truetype/aenigma}" "$out/pictures"
megastyle eval "$out/pictures" --make-benchmark "$out/bench" --styles "${STYLES:-240}" --per-style 24 \
  --group design --one-per-group --shared-contents --overwrite
megastyle eval --benchmark "$out/bench" "${systems[@]/#/--system=}" -q --overwrite --cache "$out/vectors" \
  -o "$out/scores.json" --table "$out/scores.md" --page "$out/scores.html"
cat "$out/scores.md"
