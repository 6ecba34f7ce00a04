#!/usr/bin/env bash
# Runs `megastyle ARGUMENTS` on all GPUs of a step: a process (rank) for each, started by accelerate.
#
#   srun examples/slurm/ranks.sh synth pairs.jsonl --model Qwen/Qwen-Image --shard auto -o synth/
#
# With one GPU it runs megastyle itself. A launcher would die of USR1, and of a rank that was stopped it
# makes exit code 1 and pages of log. So the launcher ignores signals, the ranks get them from here,
# rank.py turns 75 into a note, and this ends with 75 (or STOPPED_CODE).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
gpus=${SLURM_GPUS_ON_NODE:-1}
nodes=${SLURM_STEP_NUM_NODES:-1}
[ $((gpus * nodes)) -gt 1 ] || exec megastyle "$@"

if [ "$nodes" -eq 1 ]; then
  flags=(--config_file "$here/../accelerate/one_node.yaml" --num_processes "$gpus")
else
  flags=(--config_file "$here/../accelerate/multi_node.yaml" --num_processes $((nodes * gpus))
    --num_machines "$nodes" --machine_rank "$SLURM_NODEID" --main_process_ip "${FIRST_NODE:?name the first node}"
    --main_process_port $((20000 + SLURM_JOB_ID % 10000)) --rdzv_conf "is_host=$((SLURM_NODEID == 0))")
fi

notes=$(mktemp -d)
trap 'rm -rf "$notes"' EXIT
export STOPPED_NOTES=$notes # for rank.py
(
  trap "" USR1 TERM
  export PET_SIGNALS_TO_HANDLE=SIGINT # else torch ends its ranks half a minute after TERM
  exec accelerate launch "${flags[@]}" "$here/rank.py" "$@"
) &
launcher=$!

signal=
# shellcheck disable=SC2317 # called by the traps
pass_on() {

  signal=$1
  pkill "-$1" -P "$launcher" || true
}
trap 'pass_on USR1' USR1
trap 'pass_on TERM' TERM

rc=0
wait "$launcher" || rc=$?
while kill -0 "$launcher" 2> /dev/null; do # a signal interrupted the wait
  rc=0
  wait "$launcher" || rc=$?
done
if [ -n "$(ls "$notes")" ] || { [ -n "$signal" ] && [ "$rc" -ne 0 ]; }; then
  exit "${STOPPED_CODE:-75}"
fi
exit "$rc"
