#!/usr/bin/env bash
# Fits the builtin style encoder, and trains a small tower to compare it with: on a thousand families
# of icons, emoji and typefaces, on themes, and on neural renderings of paintings. Measures both on
# families that neither saw.
#
#   examples/builtin_encoder.sh PICTURES [OUT]     writes OUT/ (default: encoder-run)
#
# PICTURES  a folder with metadata.jsonl: file_name, style_id, content, source, group, and "split",
#           which says "train" or "heldout"; the latter are used to measure and for nothing else
#
# For a trial of minutes: FAMILIES (the first so many sets of icons, and as many typefaces),
# RENDERINGS (of pairs), TAUGHT and STEPS (of the tower's two phases) make it small.
#
# What comes out, in the share of pictures whose own family is nearest (G1 mAP@1, unseen families):
# the builtin encoder 80 %, the statistics it is fitted on 73 %, the tower 65 to 68 %. The tower is the
# stated loss of quality of an hour on two cores; megastyle ships the former.
# All of it took 43 minutes on two cores, drawing and rendering 10 of them; see benchmarks/RESULTS.md.
#
# Needs npm, apt-get (Debian) and: pip install 'megastyle[builtin]' resvg-py==0.5.0 scipy
set -euo pipefail

pictures=$(realpath "${1:?name a folder of pictures with metadata.jsonl}")
out=${2:-encoder-run}
here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS=1 # sums in one order
mkdir -p "$out/packages" "$out/families" "$out/paintings"

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
  --iconify "$out/packages/package" --fonts "$out/packages/fonts" --exclude "$excluded" \
  ${FAMILIES:+--most "$FAMILIES"}

# Set aside to choose settings by; taken out of what is trained on below.
aside="lets-icons nuovo tango noto noto-v1 game-icons simple-line-icons breeze whh iconamoon bloom
  material-symbols-light oi majesticons fa7-solid fa7-regular iconmind ri oxygen"

python "$here/painted_photographs.py" "$here/pictures" "$out/paintings"
megastyle synth "$out/paintings/pairs.jsonl" --size 128 -o "$out/paintings/rendered" --resume \
  ${RENDERINGS:+--limit "$RENDERINGS"}

python - "$pictures" "$out" "$aside" << 'EOF'
# Who is trained on (what was drawn, what PICTURES has besides, the renderings), what the teacher is
# fitted on, and what is looked at meanwhile.
import json
import sys
from pathlib import Path

pictures, out = (Path(name).resolve() for name in sys.argv[1:3])
aside, relatives = set(sys.argv[3].split()), {"icon-fluent-filled"}


def read(folder):
    for line in (folder / "metadata.jsonl").open():
        told = json.loads(line)
        yield {**told, "file_name": str((folder / told["file_name"]).resolve())}


def set_of(told):
    return told["source"].removeprefix("@iconify/json ").partition(":")[0]


given = [told for told in read(pictures) if told["split"] == "train"]
fitted = [r for r in given if r["group"] not in aside and r["style_id"] not in relatives]
drawn = [told for told in read(out / "families") if set_of(told) not in aside]
known = {set_of(told) for told in drawn}
more = [told for told in fitted if set_of(told) not in known]
choosing = [{**told, "split": "heldout"} for told in given if told["group"] in aside]
train = [*drawn, *more, *read(out / "paintings" / "rendered")]
for name, records in (("train", train), ("whiten", fitted), ("choosing", choosing)):
    with (out / f"{name}.jsonl").open("w") as lines:
        for told in records:
            told = {"split": "train"} | told
            kept = {key: told[key] for key in ("file_name", "style_id", "content", "split")}
            lines.write(json.dumps(kept) + "\n")
EOF

# What megastyle ships.
python "$here/style_whitening.py" "$pictures" "$out/style_whitening.safetensors"

# The tower: 5.6 million parameters, 64 tokens of 16 px; wide and shallow, since a core multiplies
# wide matrices faster. First it learns to see as the whitened statistics do, then styles.
cat > "$out/size.json" << 'EOF'
{"model_type": "siglip_vision_model", "hidden_size": 384, "intermediate_size": 1536,
 "num_hidden_layers": 2, "num_attention_heads": 6, "image_size": 128, "patch_size": 16}
EOF
[ -d "$out/run" ] || python "$here/style_distil.py" "$out/train.jsonl" -o "$out/taught" \
  --size "$out/size.json" --whiten "$out/whiten.jsonl" --choosing "$out/choosing.jsonl" \
  --steps 800 --until "${TAUGHT:-450}" --seed 0

# Here the rate falls to zero. Nothing is resampled: the width of a stroke is style.
megastyle train-encoder "$out/train.jsonl" "$out/choosing.jsonl" --init "$out/taught" \
  -o "$out/run" --split-key split --text-weight 0 --global-batch 128 --images-per-style 4 \
  --chunk 512 --steps "${STEPS:-520}" --lr 0.0003 --crop 1 --dtype bfloat16 --seed 0 \
  --checkpoint-every 130 --validate-every 130 --resume -v

python "$here/../benchmarks/style_encoder.py" "$pictures" --model "$out/run/encoder"
