#!/usr/bin/env bash
# The open benchmark: icon families, which lie beside this script, paintings rendered over
# photographs, and typefaces from Debian's package, which is downloaded if it is not installed.
#
#   examples/open_benchmark/run.sh [OUT]             (default: open-benchmark)
#
# FONTS    folder of .ttf files (default: where Debian installs fonts-aenigma)
# STYLES   typefaces (default: 240)
# SYSTEMS  encoders of the table (see score.sh)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-open-benchmark}
export FONTS=${FONTS:-/usr/share/fonts/truetype/aenigma}
mkdir -p "$out"

echo "icon families:"
"$here/score.sh" "$here/families" "$out/families"

echo "renderings:"
"$here/renderings.sh" "$out/renderings"
TIERS="plain grey" "$here/score.sh" "$out/renderings/bench" "$out/renderings"

if [ ! -d "$FONTS" ]; then
  FONTS=$(cd "$out" && pwd)/fonts/usr/share/fonts/truetype/aenigma
  if [ ! -d "$FONTS" ]; then
    command -v apt-get > /dev/null || {
      echo "error: no fonts in $FONTS: install fonts-aenigma, or set FONTS to its folder" >&2
      exit 1
    }
    (cd "$out" && apt-get download -q fonts-aenigma && dpkg-deb -x fonts-aenigma_*.deb fonts)
  fi
fi

echo "typefaces:"
"$here/typefaces.sh" "$out/typefaces"
"$here/score.sh" "$out/typefaces/bench" "$out/typefaces"
