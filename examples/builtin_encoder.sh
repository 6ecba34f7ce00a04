#!/usr/bin/env bash
# Fits the builtin style encoder and trains a small vision transformer to compare it with, on a
# thousand families of icons, emoji and typefaces, on themes, and on neural renderings of paintings.
# Evaluates both on families that neither was trained on.
#
#   examples/builtin_encoder.sh PICTURES [OUT]     writes OUT/ (default: encoder-run)
#
# PICTURES  a folder with metadata.jsonl: file_name, style_id, content, source, group, and "split",
#           which is "train" or "heldout"; the latter are only used for the evaluation
#
# For a trial run of a few minutes, set FAMILIES (number of icon sets, and of typefaces), RENDERINGS
# (number of rendered pairs), TAUGHT and STEPS (steps of the two training phases) to small numbers.
#
# Results, as the share of pictures whose nearest neighbour is of their own family (G1 mAP@1, unseen
# families): the builtin encoder 80 %, the statistics 73 %, the transformer 65 to 68 %: that is what an hour of training on two cores gives, so megastyle ships the builtin encoder.
# The whole script took 43 minutes on two cores, 10 of them drawing and rendering; see
# benchmarks/RESULTS.md.
#
# Needs npm, apt-get (Debian) and: pip install resvg-py==0.5.0 scipy
set -euo pipefail

pictures=$(realpath "${1:?name a folder of pictures with metadata.jsonl}")
out=${2:-encoder-run}
here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS=1 # sums in a fixed order
mkdir -p "$out/packages" "$out/families" "$out/paintings"

# Excluded: families of the evaluation with their relatives and copies; families reserved for later
# evaluations; earlier editions of an included set; sets that imitate the styles of many others.
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
  --iconify "$out/packages/package" --fonts "$out/packages/fonts" --exclude "$excluded" \
  ${FAMILIES:+--most "$FAMILIES"}

# Used to choose settings; removed from the training data below.
aside="lets-icons nuovo tango noto noto-v1 game-icons simple-line-icons breeze whh iconamoon bloom
  material-symbols-light oi majesticons fa7-solid fa7-regular iconmind ri oxygen"

python "$here/painted_photographs.py" "$here/pictures" "$out/paintings"
megastyle synth "$out/paintings/pairs.jsonl" --size 128 -o "$out/paintings/rendered" --resume \
  ${RENDERINGS:+--limit "$RENDERINGS"}

python - "$pictures" "$out" "$aside" << 'EOF'
# Writes three lists: the training data (drawn families, other families of PICTURES, renderings), the
# data the whitening is fitted on, and the data validated on during training.
import json
import sys
from pathlib import Path

pictures, out = (Path(name).resolve() for name in sys.argv[1:3])
aside, relatives = set(sys.argv[3].split()), {"icon-fluent-filled"}


def read(folder):
    for line in (folder / "metadata.jsonl").open():
        record = json.loads(line)
        yield {**record, "file_name": str((folder / record["file_name"]).resolve())}


def set_of(record):
    return record["source"].removeprefix("@iconify/json ").partition(":")[0]


given = [r for r in read(pictures) if r["split"] == "train"]
fitted = [r for r in given if r["group"] not in aside and r["style_id"] not in relatives]
drawn = [r for r in read(out / "families") if set_of(r) not in aside]
known = {set_of(r) for r in drawn}
more = [r for r in fitted if set_of(r) not in known]
choosing = [{**r, "split": "heldout"} for r in given if r["group"] in aside]
train = [*drawn, *more, *read(out / "paintings" / "rendered")]
for name, records in (("train", train), ("whiten", fitted), ("choosing", choosing)):
    with (out / f"{name}.jsonl").open("w") as lines:
        for record in records:
            record = {"split": "train"} | record
            kept = {key: record[key] for key in ("file_name", "style_id", "content", "split")}
            lines.write(json.dumps(kept) + "\n")
EOF

# The encoders that megastyle ships: `whitened`, and the builtin one, which is fitted on the middle of
# each photograph in the style of each painting, too.
python "$here/style_whitening.py" "$pictures" "$out/style_whitening.safetensors"
python "$here/painted_photographs.py" "$here/pictures" "$out/squares" --crops 1
megastyle synth "$out/squares/pairs.jsonl" --size 128 -o "$out/middles" --resume
python "$here/style_discriminants.py" "$pictures" "$out/middles" "$out/style_discriminants.safetensors"

# The vision transformer: 5.6 million parameters, 64 tokens of 16 px; wide and shallow, because a CPU
# multiplies wide matrices faster. It is first distilled from the whitened statistics, then trained on
# styles.
cat > "$out/size.json" << 'EOF'
{"model_type": "siglip_vision_model", "hidden_size": 384, "intermediate_size": 1536,
 "num_hidden_layers": 2, "num_attention_heads": 6, "image_size": 128, "patch_size": 16}
EOF
[ -d "$out/run" ] || python "$here/style_distil.py" "$out/train.jsonl" -o "$out/taught" \
  --size "$out/size.json" --whiten "$out/whiten.jsonl" --choosing "$out/choosing.jsonl" \
  --steps 800 --until "${TAUGHT:-450}" --seed 0

# The learning rate decays to zero. No random crops: rescaling would change stroke widths, which are
# part of a style.
megastyle train-encoder "$out/train.jsonl" "$out/choosing.jsonl" --init "$out/taught" \
  -o "$out/run" --split-key split --text-weight 0 --global-batch 128 --images-per-style 4 \
  --chunk 512 --steps "${STEPS:-520}" --lr 0.0003 --crop 1 --dtype bfloat16 --seed 0 \
  --checkpoint-every 130 --validate-every 130 --resume -v

python "$here/../benchmarks/style_encoder.py" "$pictures" --model "$out/run/encoder"
