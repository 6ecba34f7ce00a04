#!/usr/bin/env bash
# Trains a small FLUX of the same classes as FLUX.1 on icons and emoji, by train-flux, and measures
# what it paints in styles it never saw: against copying the reference, and against ignoring it.
#
#   examples/builtin_flux.sh PICTURES [OUT]        writes OUT/ (default: flux-run)
#
# PICTURES  a folder with metadata.jsonl: file_name, style_id, content, group, license, and "split",
#           which says "heldout" for the styles to measure on; those are never trained on
# FAMILIES  a folder that examples/builtin_encoder.sh drew (its OUT/families), to train on as well
# STEPS     of 32 pairs (default: 20000); VAE_STEPS of 16 pictures (default: 2000)
# HEADS     of 32 numbers: the width of the transformer (default: 4, 2.3 million parameters)
#
# Can be stopped and started again. Needs: pip install 'megastyle[builtin]'
set -euo pipefail

pictures=$(realpath "${1:?name a folder of pictures with metadata.jsonl}")
out=${2:-flux-run}
steps=${STEPS:-20000}
heads=${HEADS:-4}
here=$(cd "$(dirname "$0")" && pwd)

[ -f "$out/asked.jsonl" ] ||
  python "$here/builtin_flux.py" lists "$pictures" "$out" ${FAMILIES:+--families "$FAMILIES"}
[ -f "$out/parts/model_index.json" ] ||
  python "$here/builtin_flux.py" parts "$out" --steps "${VAE_STEPS:-2000}"

# Tokens of 8 px, 64 a picture; no guidance number, since nothing was distilled from.
cat > "$out/size.json" << EOF
{"in_channels": 64, "num_layers": 2, "num_single_layers": 4, "attention_head_dim": 32,
 "num_attention_heads": $heads, "joint_attention_dim": 256, "pooled_projection_dim": 256,
 "guidance_embeds": false, "axes_dims_rope": [4, 14, 14]}
EOF

# No mirroring and no cuts: left and right, size and margin belong to a style of icons.
megastyle train-flux "$out/train.jsonl" "$out/heldout.jsonl" --model "$out/parts" \
  --init "$out/size.json" -o "$out/run" --split-key split --size 64 --global-batch 32 --chunk 32 \
  --recompute none --steps "$steps" --lr 0.002 --warmup 0.02 --schedule cosine --clip 1 --ema 0.99 \
  --timesteps uniform --loss-weight none --no-augment --export-dtype float16 \
  --checkpoint-every 100 --validate-every 500 --sample-every 1000 --resume

for strength in 1 0; do
  megastyle transfer "$out/asked.jsonl" --model "$out/run/flux" --size 64 --device cpu \
    --strength "$strength" -o "$out/painted-$strength" --resume
done
python "$here/builtin_flux.py" measure "$pictures" "$out" \
  --painted "$out/painted-1" --ignoring "$out/painted-0"
