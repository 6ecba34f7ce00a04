#!/usr/bin/env bash
# Trains a small style encoder on a thousand families of icons, emoji and typefaces, and measures it
# on families it never saw. About 10 minutes of drawing and 50 of training on two quiet cores.
#
#   examples/builtin_encoder.sh PICTURES [OUT]     writes OUT/ (default: encoder-run)
#
# PICTURES  a folder with metadata.jsonl: file_name, style_id, content, and "split", which says
#           "heldout" for the styles to measure on; only those are used, and only to measure
# STEPS     of 128 pictures (default: 3600, some 50 minutes at 150 pictures a second)
#
# Needs npm, apt-get (Debian) and: pip install 'megastyle[builtin]' resvg-py==0.5.0 scipy
set -euo pipefail

pictures=$(realpath "${1:?name a folder of pictures with metadata.jsonl}")
out=${2:-encoder-run}
steps=${STEPS:-3600}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out/packages" "$out/families"

# Left out: families to measure on with their relatives and copies; families set aside for later
# measurement; earlier editions of a set that is in; sets that imitate the looks of many others.
excluded=$(tr -d ' \n' << 'EOF'
  akar-icons, flat-color-icons, fluent, fluent-color, fluent-mdl2, humbleicons, ic, material-symbols,
  material-symbols-light, mdi, mdi-light, zmdi, eos-icons, lucide, lucide-lab, feather, meteor-icons,
  vadivam, pixel, raphael, si-glyph, teenyicons,
  fluent-emoji, fluent-emoji-flat, fluent-emoji-high-contrast, icon-park, icon-park-outline,
  icon-park-solid, icon-park-twotone, dinkie-icons, memory, glyphs, glyphs-poly, marketeq,
  foundation, zondicons,
  fa, fa-solid, fa-regular, fa-brands, fa6-solid, fa6-regular, fa6-brands, heroicons-outline,
  heroicons-solid, sidekickicons, famicons, bx, bxs, pepicons, mono-icons, reicon,
  svg-spinners, line-md, gcp, k8s, unjs, devicon, devicon-plain, skill-icons, vscode-icons,
  file-icons, bpmn, ginetex
EOF
)

(
  cd "$out/packages"
  [ -d package ] || tar xzf "$(npm pack --silent @iconify/json@2.2.535)"
  [ -d fonts ] || { apt-get download fonts-aenigma && dpkg-deb -x fonts-aenigma_*.deb fonts; }
)
[ -f "$out/families/metadata.jsonl" ] || python "$here/style_families.py" "$out/families" \
  --iconify "$out/packages/package" --fonts "$out/packages/fonts" --exclude "$excluded"

# 2.3 million parameters; 64 tokens of 16 px. The patch embedding starts as the lowest frequencies
# of the cosine transform, of lightness and of two opponent colours, so that strokes can be told
# from grounds before anything is learned.
cat > "$out/size.json" << 'EOF'
{"model_type": "siglip_vision_model", "hidden_size": 192, "intermediate_size": 768,
 "num_hidden_layers": 4, "num_attention_heads": 3, "image_size": 128, "patch_size": 16}
EOF
python - "$out/size.json" "$out/init" << 'EOF'
import math
import sys
from pathlib import Path

import torch

from megastyle_cli.models.tower import read_tower, save_folder

tower, out = read_tower(sys.argv[1], 0), Path(sys.argv[2])
weight = tower.embeddings.patch_embedding.weight  # (192, 3, 16, 16)
num_lightness, side = 140, weight.shape[-1]
places = torch.arange(side)
waves = torch.cos(math.pi * (2 * places + 1) * places[:, None] / (2 * side)) * math.sqrt(2 / side)
waves[0] /= math.sqrt(2)
lowest = sorted(((i, j) for i in range(side) for j in range(side)),
                key=lambda ij: (ij[0] ** 2 + ij[1] ** 2, ij))
axes = [torch.tensor(axis) / torch.tensor(axis).norm()
        for axis in ([0.299, 0.587, 0.114], [1.0, -1.0, 0.0], [1.0, 1.0, -2.0])]
num_color = (len(weight) - num_lightness) // 2
with torch.no_grad():
    row = 0
    for axis, count in zip(axes, (num_lightness, num_color, num_color), strict=True):
        for i, j in lowest[:count]:  # finer waves are weaker in pictures: lifted in proportion
            gain = 0.7 * (1 + math.hypot(i, j)) / side
            weight[row] = gain * axis[:, None, None] * torch.outer(waves[i], waves[j])
            row += 1
    tower.embeddings.patch_embedding.bias.zero_()
    tower.embeddings.position_embedding.weight.mul_(0.3)
out.mkdir(exist_ok=True)
save_folder(tower, out)
EOF

grep '"split": "heldout"' "$pictures/metadata.jsonl" |
  sed "s|\"file_name\": \"|&$pictures/|" > "$out/heldout.jsonl"

# No flips and small crops: left and right, size and margin belong to a style of icons.
megastyle train-encoder "$out/families" "$out/heldout.jsonl" --init "$out/init" -o "$out/run" \
  --split-key split --text-weight 0 --global-batch 128 --images-per-style 4 --chunk 512 \
  --steps "$steps" --lr 0.0015 --ema 0.99 --no-flip --crop 0.85 --dtype bfloat16 \
  --checkpoint-every 100 --validate-every 400 --resume -v

python "$here/../benchmarks/style_encoder.py" "$pictures" --model "$out/run/encoder"
