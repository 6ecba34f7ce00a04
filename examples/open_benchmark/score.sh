#!/usr/bin/env bash
# The table of a benchmark: every encoder that needs no download, in one call.
#
#   examples/open_benchmark/score.sh BENCHMARK OUT
#
# SYSTEMS  encoders of the table: backends, models, or NAME=package.module:Class
# TIERS    parts of the benchmark (default: plain)
set -euo pipefail

bench=$1 out=$2
builtin=megastyle_cli.models.builtin
systems=(builtin whitened statistics edges imagenet colors random
  "content=$builtin.imagenet:ContentDescriptor" "magenta=$builtin.magenta_encoder:MagentaEncoder")
read -ra tiers <<< "${TIERS:-plain}"
[ -z "${SYSTEMS:-}" ] || read -ra systems <<< "$SYSTEMS"

mkdir -p "$out"
megastyle eval --benchmark "$bench" "${systems[@]/#/--system=}" "${tiers[@]/#/--tier=}" -q --overwrite --cache "$out/vectors" \
  -o "$out/scores.json" --table "$out/scores.md" --page "$out/scores.html"
cat "$out/scores.md"
