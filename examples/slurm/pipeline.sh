#!/usr/bin/env bash
# From two folders of pictures to rendered pairs and their evaluation, as jobs that wait for one another:
# caption -> dedup -> cluster -> pair -> synth -> eval, and training if the configuration says so.
#
#   examples/slurm/pipeline.sh my-run.conf          pipeline.conf shows what it may say
#
# Prints a job id for each step. What is done, or queued already, is not submitted again: after a failure,
# start it once more. Of an array, only the parts that are not done are.
set -euo pipefail

config=${1:?usage: pipeline.sh CONFIG}
MEGASTYLE_JOBS=$(cd "$(dirname "$0")" && pwd)
export MEGASTYLE_JOBS # the jobs find job.sh there
container=()
# shellcheck source=examples/slurm/site.conf
. "$MEGASTYLE_JOBS/site.conf"
# shellcheck source=examples/slurm/pipeline.conf
. "$config"
mkdir -p "$run/jobs" logs

# submit NAME AFTER OUTPUT SBATCH-OPTIONS -- SCRIPT ARGUMENTS: a job after those in AFTER; its id goes
# to $job, and there is none if OUTPUT is complete.
submit() {
  local name=$1 after output=$3 options=() note=$run/jobs/$1
  read -ra after <<< "$2" # those that are done have no job
  shift 3
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  job=
  if is_complete "$output"; then
    echo "$name: done ($output)"
    return
  fi
  job=$(cat "$note" 2> /dev/null || true)
  if [ -n "$job" ] && [ -n "$(squeue --noheader --job "$job" 2> /dev/null)" ]; then
    echo "$name: job $job, submitted before"
    return
  fi
  [ "${#after[@]}" -eq 0 ] \
    || options+=("--dependency=$(printf ',afterok:%s' "${after[@]}" | cut -c 2-)" --kill-on-invalid-dep=yes)
  job=$(sbatch --parsable --job-name="$name" "${sbatch_options[@]}" "${options[@]}" \
    "$MEGASTYLE_JOBS/$1" "${@:2}")
  echo "$job" > "$note"
  echo "$name: job $job"
}

# Whether every part of a folder is done, or a file is there: outputs get their names when they are complete.
is_complete() {
  case $1 in
    */) [ -e "$1" ] && "${container[@]}" megastyle status "$1" > /dev/null ;;
    *) [ -e "$1" ] ;;
  esac
}

# The tasks of an array whose parts are not done.
array_for() {
  local left=
  [ ! -e "$1" ] || left=$("${container[@]}" megastyle status "$1" --array || true)
  case $tasks in
    *%*) left=${left:+$left%${tasks#*%}} ;; # no more at once than before
  esac
  echo "--array=${left:-$tasks}"
}

caption() { # KIND PICTURES: $job
  submit "caption-$1" "" "$run/captions-$1/" "$(array_for "$run/captions-$1/")" -- "$caption_job" \
    "$2" "$run/captions-$1/" --kind "$1" "${caption_options[@]}"
}
on_one_node() { # NAME AFTER OUTPUT COMMAND...: $job
  submit "$1" "$2" "$3" -- command.sbatch "${@:4}" -o "$3"
}

caption style "$styles"
on_one_node dedup-styles "$job" "$run/distinct.jsonl" dedup "$run/captions-style/" "${dedup_options[@]}"
on_one_node cluster "$job" "$run/styles.jsonl" cluster "$run/distinct.jsonl" "${cluster_options[@]}"
sampled=$job
caption content "$contents"
on_one_node dedup-contents "$job" "$run/contents.jsonl" dedup "$run/captions-content/" --on content
on_one_node pair "$sampled $job" "$run/pairs.jsonl" pair "$run/styles.jsonl" \
  --contents "$run/contents.jsonl" "${pair_options[@]}"
submit synth "$job" "$run/synth/" "$(array_for "$run/synth/")" -- "$synth_job" \
  "$run/pairs.jsonl" "$run/synth/" "${synth_options[@]}"
rendered=$job
on_one_node eval "$rendered" "$run/scores.json" eval "$run/synth/" "${eval_options[@]}"
[ "$train" != yes ] || submit train "$rendered" "$run/encoder/encoder" "${train_sbatch_options[@]}" -- \
  train.sbatch train-encoder "$run/synth/" "$run/encoder" "${train_options[@]}"
