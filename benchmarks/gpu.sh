#!/usr/bin/env bash
# gpu.sh [PART...]: measures on a GPU what only a GPU can show; each part takes less than ten minutes.
#
#   benchmarks/gpu.sh                    # all parts
#   benchmarks/gpu.sh scoring kmeans     # some; their names: python -m benchmarks.gpu --help
#   PYTHON=/opt/env/bin/python benchmarks/gpu.sh flux
#
# Installs and downloads nothing: weights are random, of the real shapes. Runs from a checkout that was
# copied to a machine with torch; a part says in one sentence which package it lacks. Rows are appended to
# benchmarks/RESULTS.md with the machine and the versions. Without a GPU it says so and runs tiny versions,
# whose figures mean nothing and are kept nowhere.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(kmeans scoring agreement encoder memory transfer flux synth)
failed=0
for part in "${parts[@]}"; do
    timeout 600 "${PYTHON:-python3}" -m benchmarks.gpu "$part" || failed=$?
done
exit $failed
