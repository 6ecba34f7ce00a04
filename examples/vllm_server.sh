#!/usr/bin/env bash
# Captions by a vision-language model under vLLM on this machine's GPUs: starts the server, waits
# until it is ready, captions the images, and stops the server.
#
#   examples/vllm_server.sh IMAGES OUT.jsonl [more options of caption]
#
# MODEL        a folder or hub name; vLLM downloads it (default: Qwen/Qwen3-VL-8B-Instruct)
# MAX_TOKENS   context per request: image, instructions and answer (default: 4096). The model's own
#              maximum would reserve GPU memory that no caption needs.
# CONCURRENCY  requests in flight (default: 256)
# PORT         of the server (default: 8000)
# VLLM_ENV     virtual environment of vLLM, created if missing (default: .vllm). It is separate
#              because vLLM pins its own versions of torch and transformers.
# CLIENT       what starts the client, such as srun (default: nothing)
# LOG          what the server says (default: OUT.jsonl.server.log)
# TIMEOUT_S    seconds to wait for the server, download included (default: 1800)
set -euo pipefail

images=${1:?name a folder of images, or records}
out=${2:?name the output, such as captions.jsonl}
shift 2
env=${VLLM_ENV:-.vllm}
port=${PORT:-8000}
log=${LOG:-$out.server.log}
read -ra client <<< "${CLIENT:-}"

if [ ! -x "$env/bin/vllm" ]; then
  python3 -m venv "$env"
  "$env/bin/pip" install --quiet vllm
fi

# No video slots, which would reserve memory; no processor cache, since most images are seen once.
"$env/bin/vllm" serve "${MODEL:-Qwen/Qwen3-VL-8B-Instruct}" --host 127.0.0.1 --port "$port" \
  --max-model-len "${MAX_TOKENS:-4096}" --limit-mm-per-prompt.video 0 --mm-processor-cache-gb 0 \
  > "$log" 2>&1 &
server=$!
trap 'kill "$server" 2> /dev/null || true; wait "$server" 2> /dev/null || true' EXIT

for ((waited = 0; waited < ${TIMEOUT_S:-1800}; waited++)); do
  kill -0 "$server" 2> /dev/null || break
  ! curl -sf "http://127.0.0.1:$port/health" > /dev/null || break
  sleep 1
done
if ! curl -sf "http://127.0.0.1:$port/health" > /dev/null || ! kill -0 "$server"; then
  echo "the server did not become ready; the end of $log:" >&2
  tail -n 5 "$log" >&2
  exit 1
fi

"${client[@]}" megastyle caption "$images" --base-url "http://127.0.0.1:$port/v1" \
  --concurrency "${CONCURRENCY:-256}" -o "$out" --resume "$@"
