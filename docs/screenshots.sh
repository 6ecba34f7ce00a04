#!/usr/bin/env bash
# The pictures of docs/images/: the demo is run and its pages are photographed in headless Chromium.
#
#   docs/screenshots.sh [DEMO]    DEMO: a folder that examples/pipeline.sh wrote (default: a new one)
set -euo pipefail

cd "$(dirname "$0")/.."
demo=${1:-}
if [ -z "$demo" ]; then
  demo=$(mktemp -d)/demo
  examples/pipeline.sh "$demo"
fi
mkdir -p docs/images

shoot() { # IMAGE PAGE WIDTH HEIGHT [SCRIPT]
  python -m tests.browser "$demo/$2" "docs/images/$1.jpg" "${@:3}"
}
shoot demo index.html 1440 900
shoot close-up index.html 1440 900 "one('.open').click()"
shoot report report.html 1440 900 "one('#part2').scrollIntoView()"
shoot retrieve found.html 1440 900
shoot styles styles.html 1440 900
shoot styles-phone styles.html 390 844 "setView('grid')"
