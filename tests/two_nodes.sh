#!/usr/bin/env bash
# `--engine ray` on two nodes that share no network: the second lives in a network namespace with its
# own raylet and object store. A worker there is killed while it works; the bytes must be those of
# `--engine local`. Says what went through the wire.
#
#   sudo PATH="$PWD/.venv/bin:$PATH" tests/two_nodes.sh [RECORDS]
#
# Needs root and the `ip` program. Cleans up what it made.
set -euo pipefail

records=${1:-200000}
scratch=$(mktemp -d -p /tmp two.XXXX) # short, since sockets have their names in it
space=two-$$
wire=two$$
head=10.203.7.1
there=10.203.7.2
port=$((20000 + $$ % 10000))
secret=$(od -An -tx1 -N16 /dev/urandom | tr -d ' \n')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$secret RAY_USAGE_STATS_ENABLED=0 \
  RAY_USAGE_STATS_REPORT_URL=http://127.0.0.1:9

say() { echo "two_nodes: $*"; }
clean() {
  [ -z "${second:-}" ] || kill "$second" || true
  [ -z "${first:-}" ] || kill "$first" || true
  wait
  ip netns del "$space" 2> /dev/null || true
  ip link del "${wire}a" 2> /dev/null || true
  rm -rf "$scratch"
}
trap clean EXIT

ip netns add "$space"
ip link add "${wire}a" type veth peer name "${wire}b"
ip link set "${wire}b" netns "$space"
ip addr add "$head/30" dev "${wire}a"
ip link set "${wire}a" up
ip netns exec "$space" ip addr add "$there/30" dev "${wire}b"
ip netns exec "$space" ip link set "${wire}b" up
ip netns exec "$space" ip link set lo up

common=(--block --num-cpus=1 --disable-usage-stats --object-store-memory=500000000)
ray start --head --port="$port" --node-ip-address="$head" --temp-dir="$scratch/ray" \
  --include-dashboard=false "${common[@]}" > "$scratch/head.log" 2>&1 &
first=$!
until (: < "/dev/tcp/$head/$port") 2> /dev/null; do sleep 0.2; done
ip netns exec "$space" ray start --address="$head:$port" --node-ip-address="$there" "${common[@]}" \
  > "$scratch/second.log" 2>&1 &
second=$!
until grep -q "runtime started" "$scratch/head.log" "$scratch/second.log" \
  && [ "$(grep -l "runtime started" "$scratch"/*.log | wc -l)" -eq 2 ]; do sleep 0.2; done
say "two nodes: $head, and $there in the namespace"

python - "$records" > "$scratch/prompts.jsonl" << 'EOP'
import json
import random
import sys

draw = random.Random(7)
words = [a + b for a in "red dim soft bold flat warm pale deep raw calm".split()
         for b in "wash line glow edge grain paper ink light stroke field haze tone".split()]
seen = []
for row in range(int(sys.argv[1])):
    text = draw.sample(words, 14)
    if seen and draw.random() < 0.2:
        text = list(draw.choice(seen))
        text[draw.randrange(14)] = draw.choice(words)
    if len(seen) < 5000:
        seen.append(text)
    print(json.dumps({"id": f"r{row}", "style": ", ".join(text)}))
EOP
head -n 20000 "$scratch/prompts.jsonl" > "$scratch/few.jsonl"

sent() { cat "/sys/class/net/${wire}a/statistics/tx_bytes"; }
received() { cat "/sys/class/net/${wire}a/statistics/rx_bytes"; }

# Kills a worker of the second node that is at work, as soon as there is one.
kill_one() {
  local process
  while :; do
    for process in $(ip netns pids "$space"); do
      if [[ "$(tr '\0' ' ' < "/proc/$process/cmdline" 2> /dev/null)" == ray::_call_alone* ]]; then
        kill -9 "$process" && echo "$process" > "$scratch/killed" && return
      fi
    done
    sleep 0.02
  done
}

compare() { # NAME INPUT FLAGS...
  local name=$1 input=$2 tx rx killer
  shift 2
  megastyle "$name" "$input" -o "$scratch/local.jsonl" --overwrite --engine local "$@"
  tx=$(sent) rx=$(received)
  rm -f "$scratch/killed"
  kill_one &
  killer=$!
  RAY_ADDRESS=$head:$port megastyle "$name" "$input" -o "$scratch/ray.jsonl" --overwrite \
    --engine ray "$@"
  kill "$killer" 2> /dev/null || true
  wait "$killer" 2> /dev/null || true
  [ -e "$scratch/killed" ] || { say "$name: no worker of the second node was at work"; return 1; }
  cmp "$scratch/local.jsonl" "$scratch/ray.jsonl"
  say "$name: worker $(cat "$scratch/killed") killed, $(wc -l < "$input") records in," \
    "$(wc -l < "$scratch/ray.jsonl") out, the same bytes;" \
    "$(($(sent) - tx)) bytes to the second node, $(($(received) - rx)) back"
}

compare dedup "$scratch/prompts.jsonl" --no-semantic
compare cluster "$scratch/few.jsonl" --levels 1000,100
say "both agree"
