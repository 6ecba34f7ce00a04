#!/usr/bin/env bash
# Installs what tests/slurm/ runs, with apt-get and as root: the daemons and commands of Slurm, and munge.
# The packages start no daemons.
set -euo pipefail

if type slurmctld slurmd sbatch munged > /dev/null 2>&1; then exit; fi
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' > $policy
  chmod +x $policy
  trap 'rm -f $policy' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install -y --no-install-recommends munge slurmctld slurmd slurm-client \
  slurm-wlm-basic-plugins util-linux procps
