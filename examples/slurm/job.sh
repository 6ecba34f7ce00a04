# shellcheck shell=bash
# What the jobs of this folder share; they read it with `.`, and it reads site.conf.

jobs=${MEGASTYLE_JOBS:-examples/slurm} # submit from the checkout, or say where this folder is
container=() scratch=/tmp stage=no max_restarts=50
# shellcheck source=examples/slurm/site.conf
. "$jobs/site.conf"

# step [SRUN OPTIONS] COMMAND...: runs COMMAND on the nodes of the job; its exit code is in $rc. Slurm
# sends USR1 to it before the time limit (--signal without "B:", which would mean this script), and
# megastyle stops with 75.
step() {
  rc=0
  srun "${container[@]}" "$@" || rc=$?
}

# Copies a file or folder to the scratch disk of each node, where it is $staged; `finish` removes it.
stage_on_each_node() {
  staged=$scratch/megastyle-$SLURM_JOB_ID/$(basename "$1")
  # shellcheck disable=SC2016 # expanded on each node
  srun sh -c 'mkdir -p "$2" && cp -r "$1" "$2"' stage "$1" "${staged%/*}"
}

# Ends the job with $rc. If it was stopped, it is queued again first: --resume then continues.
finish() {
  # not SLURM_JOB_ID for an array: in one of its tasks, that is the id of the whole array
  local id=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
  [ -z "${staged:-}" ] || srun rm -rf "${staged%/*}"
  if [ "$rc" -eq 75 ]; then
    if [ "${SLURM_RESTART_COUNT:-0}" -lt "$max_restarts" ]; then
      scontrol requeue "${id:-$SLURM_JOB_ID}"
    else
      echo "stopped after $max_restarts restarts: submit it again to continue" >&2
    fi
  fi
  exit "$rc"
}
