#!/usr/bin/env bash
# Trains a small model of the same architecture as FLUX.1 on icons and emoji, with train-flux, and
# evaluates it on unseen styles, compared with copying the reference and with ignoring it.
#
#   examples/builtin_flux.sh PICTURES [OUT]        writes OUT/ (default: flux-run)
#
# PICTURES  a folder with metadata.jsonl: file_name, style_id, content, group, license, source, and
#           "split", which is "heldout" for the styles of the evaluation; these are not trained on
# FAMILIES  a folder drawn by examples/builtin_encoder.sh (its OUT/families), to train on as well
# WORDS     number of contents to learn (default: 24): the most frequent of PICTURES, then others
# STEPS     training steps of BATCH pairs (default: 6000 of 32)
# VAE_STEPS training steps of the autoencoder, of 16 pictures (default: 1000)
# WIDTH     width of the transformer, a multiple of 64 (default: 256, 6.8 million parameters)
# SINGLE    number of single-stream blocks (default: 4)
# LR        peak learning rate, decaying to zero (default: 0.002)
#
# Sized for one or two CPU cores: 8 px per token, 64 tokens per picture, bfloat16: 44 pairs/s on an
# idle AVX-512 core, 70 on two, so 45 to 75 minutes. Can be interrupted and restarted. megastyle ships
# a model trained like this for 8,200 steps as --model builtin-flux (see its CARD.md).
set -euo pipefail

pictures=$(realpath "${1:?name a folder of pictures with metadata.jsonl}")
out=${2:-flux-run}
width=${WIDTH:-256}
batch=${BATCH:-32}
here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

[ -f "$out/asked.jsonl" ] || python "$here/builtin_flux_data.py" "$pictures" "$out" \
  --words "${WORDS:-24}" ${FAMILIES:+--families "$FAMILIES"}
[ -f "$out/parts/model_index.json" ] ||
  python "$here/builtin_flux_parts.py" make "$out" --steps "${VAE_STEPS:-1000}"

# No guidance embedding, since the model is not distilled.
cat > "$out/size.json" << EOF
{"in_channels": 64, "num_layers": 1, "num_single_layers": ${SINGLE:-4}, "attention_head_dim": 64,
 "num_attention_heads": $((width / 64)), "joint_attention_dim": 256, "pooled_projection_dim": 256,
 "guidance_embeds": false, "axes_dims_rope": [8, 28, 28]}
EOF

# No mirroring and no crops: orientation, size and margin are part of an icon style. Validation and
# samples during training use styles reserved for choosing settings, not the held-out ones.
megastyle train-flux "$out/train.jsonl" --model "$out/parts" --init "$out/size.json" -o "$out/run" \
  --split-key split --size 64 --global-batch "$batch" --chunk "$batch" --recompute none \
  --steps "${STEPS:-6000}" --lr "${LR:-0.002}" --warmup 0.02 --schedule linear --clip 1 \
  --ema 0.995 --timesteps megastyle --loss-weight none --no-augment --dtype bfloat16 \
  --export-dtype float16 --checkpoint-every 100 --validate-every 250 --sample-every 500 \
  --samples 12 --resume

for strength in 1 0; do
  megastyle transfer "$out/asked.jsonl" --model "$out/run/flux" --size 64 --device cpu \
    --strength "$strength" -o "$out/painted-$strength" --resume
done
python "$here/builtin_flux_measure.py" "$out" --painted "$out/painted-1" --ignoring "$out/painted-0"
