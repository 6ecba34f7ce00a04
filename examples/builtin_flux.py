"""The parts of a small FLUX that train-flux does not train, its data, and how well it paints.

  python examples/builtin_flux.py lists PICTURES OUT [--families DIR]
  python examples/builtin_flux.py parts OUT [--steps N]
  python examples/builtin_flux.py measure PICTURES OUT --painted DIR --ignoring DIR

lists    OUT/train.jsonl and OUT/heldout.jsonl (pictures by style, freely licensed ones to train on)
         and OUT/asked.jsonl: for held-out styles, a reference and another picture's words.
parts    OUT/parts, a FLUX folder without transformer: an AutoencoderKL of 4 px a latent, trained on
         the pictures of OUT/train.jsonl; a T5 and a CLIP whose words are wordllama's vectors.
measure  style and content accuracy of what was painted, of the reference itself (copying it), of
         what was painted without it (ignoring it), and of the real pictures, with 95 % intervals by
         drawing styles again; OUT/grid.png.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from torch.nn import functional, init
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from megastyle_cli.models.backend import load
from megastyle_cli.models.flux_pictures import pixels_of
from megastyle_cli.stream.progress import say

# n pictures, d width, v words
Array = np.ndarray[Any, np.dtype[Any]]
Rows = list[dict[str, Any]]

SIDE_PX = 64
WORDS_A_PROMPT = 8
FREE = re.compile(r"MIT|Apache-2.0|ISC|BSD-\d-Clause|CC0-1.0|CC-BY-\d\.0|OFL-1.1|Unlicense")
LATENTS, CHANNELS = 16, (16, 32, 48)
REFERENCES, CONTENTS = 2, 5  # references of a held-out style, and words painted after each


def read(path: Path) -> Rows:
    """The records of a JSON lines file, file names made absolute."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        for key in ("file_name", "style_file_name", "target_file_name"):
            if key in row:
                row[key] = str((path.parent / row[key]).resolve())
    return rows


def write(path: Path, rows: Rows) -> None:
    """Writes records as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def words_of(row: dict[str, Any]) -> str:
    """A content as a prompt: icons are named arrow-left."""
    return str(row["content"]).replace("-", " ").replace("_", " ")


def opened(names: Sequence[str]) -> list[Image.Image]:
    """The pictures, RGB, at the model's size."""
    return [
        Image.open(name).convert("RGB").resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
        for name in names
    ]


def lists(pictures: Path, families: Sequence[Path], out: Path) -> None:
    """Who is trained on, who is held out, and what is asked of the model afterwards."""
    rows = [{**row, "content": words_of(row)} for row in read(pictures / "metadata.jsonl")]
    held_out = [row for row in rows if row["split"] == "heldout"]
    seen = [row for row in rows if row["split"] != "heldout"]
    for folder in families:  # of other groups: variants of a held-out set are its relatives
        groups = {row["group"] for row in held_out}
        more = [{**row, "content": words_of(row)} for row in read(folder / "metadata.jsonl")]
        seen += [row for row in more if row["group"] not in groups]
    trained = [row for row in seen if FREE.fullmatch(row["license"])]
    out.mkdir(parents=True, exist_ok=True)
    write(out / "train.jsonl", trained)
    write(out / "heldout.jsonl", held_out)
    rng = np.random.default_rng(0)
    asked: Rows = []
    taught = {row["content"] for row in trained}
    for style in sorted({row["style_id"] for row in held_out}):
        own = [r for r in held_out if r["style_id"] == style and r["content"] in taught]
        for reference in rng.choice(len(own), REFERENCES, replace=False).tolist():
            others = [k for k in range(len(own)) if k != reference]
            for target in rng.choice(others, CONTENTS, replace=False).tolist():
                asked.append(
                    {
                        "id": f"{style}-{own[reference]['content']}-{own[target]['content']}",
                        "style_id": style,
                        "content": own[target]["content"],
                        "style_file_name": own[reference]["file_name"],
                        "target_file_name": own[target]["file_name"],
                    }
                )
    write(out / "asked.jsonl", asked)
    say(f"{len(trained)} pictures to train on, {len(held_out)} held out, {len(asked)} asked for")


def parts(out: Path, steps: int) -> None:
    """Writes all of a FLUX but its transformer."""
    rows = read(out / "train.jsonl")
    words = sorted({word for row in rows for word in row["content"].lower().split()})
    vectors = torch.from_numpy(load("text_embedder", "builtin").embed(words)).float()  # (v, 256)
    tokenizer, t5 = spelled_t5(words, vectors)
    clip_tokenizer, clip = spelled_clip(words, vectors)
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder([row["file_name"] for row in rows], steps),
        text_encoder=clip,
        tokenizer=clip_tokenizer,
        text_encoder_2=t5,
        tokenizer_2=tokenizer,
        transformer=None,
    ).save_pretrained(out / "parts")


def spelled_t5(words: Sequence[str], vectors: Tensor) -> tuple[Any, Any]:
    """A T5 of one layer that passes words through: their vectors, scaled to a mean square of 1."""
    special = ["<pad>", "</s>", "<unk>"]
    pieces = [(piece, 0.0) for piece in special]
    pieces += [(f"\u2581{word}", -1.0 - k / 1e6) for k, word in enumerate(words)]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=WORDS_A_PROMPT)
    width = vectors.shape[1]
    config = T5Config(
        vocab_size=len(pieces), d_model=width, d_kv=8, d_ff=8, num_layers=1, num_heads=1
    )
    model = T5EncoderModel(config)
    with torch.no_grad():
        for block in model.encoder.block:
            init.zeros_(block.layer[0].SelfAttention.o.weight)
            init.zeros_(block.layer[1].DenseReluDense.wo.weight)
        drawn = torch.randn(len(special), width, generator=torch.Generator().manual_seed(0))
        model.shared.weight.copy_(torch.cat([functional.normalize(drawn), vectors]))
    return tokenizer, model.eval()


def spelled_clip(words: Sequence[str], vectors: Tensor) -> tuple[Any, Any]:
    """A CLIP of one layer whose pooled row is the mean of a prompt's words, made even."""
    names = ["<start>", "<end>", "<unk>", *words]
    raw = Tokenizer(models.WordLevel({name: k for k, name in enumerate(names)}, unk_token="<unk>"))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = [("<start>", 0), ("<end>", 1)]
    raw.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=ends
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<start>",
        eos_token="<end>",
        pad_token="<end>",
        unk_token="<unk>",
        model_max_length=WORDS_A_PROMPT,
    )
    width = vectors.shape[1]
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(names),
            hidden_size=width,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            max_position_embeddings=WORDS_A_PROMPT,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )
    held = getattr(model, "text_model", model)
    layer = held.encoder.layers[0]
    with torch.no_grad():
        for part in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.mlp.fc2):
            init.zeros_(part.weight)
            init.zeros_(part.bias)
        for part in (layer.self_attn.v_proj, layer.self_attn.out_proj):
            init.eye_(part.weight)
            init.zeros_(part.bias)
        table = torch.zeros(len(names), width)
        table[3:] = vectors
        held.embeddings.token_embedding.weight.copy_(table)
        init.zeros_(held.embeddings.position_embedding.weight)
    return tokenizer, model.eval()


def autoencoder(names: Sequence[str], steps: int, batch: int = 16) -> Any:
    """An AutoencoderKL of 4 px a latent, trained to give pictures back; its latents have unit std.

    A weight of 1e-4 on the latents' size in place of the KL term: they are used as they are.
    """
    torch.manual_seed(0)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(CHANNELS),
        up_block_types=("UpDecoderBlock2D",) * len(CHANNELS),
        block_out_channels=CHANNELS,
        layers_per_block=1,
        latent_channels=LATENTS,
        norm_num_groups=8,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(vae.parameters(), 3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step in range(steps):
        pixels = pixels_of(opened([names[k] for k in rng.integers(len(names), size=batch)]))
        latents = vae.encode(pixels).latent_dist.mode()
        decoded = vae.decode(latents).sample
        loss = functional.l1_loss(decoded, pixels) + 1e-4 * latents.square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            say(f"autoencoder {step}/{steps}: {loss.item():.4f}")
    vae.eval()
    with torch.no_grad():
        shown = pixels_of(opened([names[k] for k in rng.integers(len(names), size=256)]))
        latents = vae.encode(shown).latent_dist.mode()
    vae.register_to_config(
        shift_factor=float(latents.mean()), scaling_factor=float(1 / latents.std())
    )
    return vae


def measure(pictures: Path, out: Path, painted: Path, ignoring: Path) -> None:
    """Prints the table and draws the grid."""
    asked = read(out / "asked.jsonl")
    styles = np.array([row["style_id"] for row in asked])
    answers = {
        "painted": found(painted, asked),
        "copying the reference": [row["style_file_name"] for row in asked],
        "ignoring the reference": found(ignoring, asked),
        "the real picture": [row["target_file_name"] for row in asked],
    }
    nearest, content_of = style_judge(out, asked), content_judge(out)
    told: dict[str, dict[str, Array]] = {}
    for name, files in answers.items():
        shown = opened(files)
        told[name] = {
            "style": nearest(shown),
            "content": content_of(shown) == np.array([row["content"] for row in asked]),
        }
        row = [f"{name:24}"]
        row += [f"{what} {interval(told[name][what], styles)}" for what in ("style", "content")]
        say("   ".join(row))
    for what, other in (("content", "copying the reference"), ("style", "ignoring the reference")):
        difference = told["painted"][what].astype(float) - told[other][what]
        say(f"{what}: painted minus {other}: {interval(difference, styles)}")
    grid(asked, answers, out / "grid.png")


def found(folder: Path, asked: Rows) -> list[str]:
    """The painted pictures, in the order they were asked for."""
    made = {row["id"]: row["file_name"] for row in read(folder / "metadata.jsonl")}
    missing = [row["id"] for row in asked if row["id"] not in made]
    if missing:
        sys.exit(f"{folder} lacks {len(missing)} pictures, such as {missing[0]}")
    return [made[row["id"]] for row in asked]


def style_judge(out: Path, asked: Rows) -> Any:
    """Whether a picture's nearest of all held-out styles is the one that was asked for.

    A style is the mean of the builtin style vectors of its pictures, without those of the contents
    of question and reference, so that neither can be recognised by what it shows.
    """
    rows = read(out / "heldout.jsonl")
    encoder = load("style_encoder", "builtin")
    vectors = encoder.embed(opened([row["file_name"] for row in rows]))
    names = sorted({row["style_id"] for row in rows})
    content = {row["file_name"]: row["content"] for row in rows}

    def judged(shown: Sequence[Image.Image]) -> Array:
        right = []
        for row, vector in zip(asked, encoder.embed(shown), strict=True):
            left_out = {row["content"], content[row["style_file_name"]]}
            means = []
            for name in names:
                own = [
                    k
                    for k, r in enumerate(rows)
                    if r["style_id"] == name and r["content"] not in left_out
                ]
                means.append(vectors[own].mean(0))
            table = np.stack([mean / np.linalg.norm(mean) for mean in means])
            right.append(names[int((table @ vector).argmax())] == row["style_id"])
        return np.array(right)

    return judged


def content_judge(out: Path) -> Any:
    """What a picture shows, by ridge regression on its edges, learned from the training pictures.

    Only contents that are asked for are known to it.
    """
    known = sorted({row["content"] for row in read(out / "asked.jsonl")})
    rows = [row for row in read(out / "train.jsonl") if row["content"] in set(known)]
    x = edges(opened([row["file_name"] for row in rows]))
    y = np.eye(len(known))[[known.index(row["content"]) for row in rows]] - 1 / len(known)
    gram = x.T @ x + 0.003 * len(x) * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x.T @ y)
    return lambda shown: np.array([known[k] for k in (edges(shown) @ weights).argmax(1)])


def edges(shown: Sequence[Image.Image]) -> Array:
    """Histograms of 8 directions of edges in 8 x 8 overlapping cells, and their strength (n, d)."""
    gray = np.stack([np.asarray(picture.convert("L"), np.float64) / 255 for picture in shown])
    down, across = np.gradient(gray, axis=(1, 2))
    strength, angle = np.hypot(down, across), np.arctan2(down, across) % np.pi
    place = np.minimum((angle / np.pi * 8).astype(int), 7)
    cells = []
    for turn in range(8):
        layer = strength * (place == turn)  # (n, 64, 64)
        pooled = torch.nn.functional.avg_pool2d(torch.from_numpy(layer)[:, None], 12, 8, padding=4)
        cells.append(pooled.flatten(1).numpy())
    rows = np.sqrt(np.concatenate(cells, 1))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6
    return np.concatenate([rows, np.ones((len(rows), 1))], 1)


def interval(values: Array, styles: Array, draws: int = 2000) -> str:
    """The mean in percent and its 95 % interval, by drawing styles again."""
    names = np.unique(styles)
    means = np.array([values[styles == name].mean() for name in names])
    rng = np.random.default_rng(0)
    drawn = means[rng.integers(len(names), size=(draws, len(names)))].mean(1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{100 * means.mean():5.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def grid(asked: Rows, answers: dict[str, list[str]], path: Path, most: int = 20) -> None:
    """Reference, painted, painted without the reference, and the real picture, side by side."""
    order = ("copying the reference", "painted", "ignoring the reference", "the real picture")
    step = max(1, len(asked) // most)
    chosen = range(0, step * min(most, len(asked)), step)
    cell = SIDE_PX + 16
    sheet = Image.new("RGB", (2 * len(order) * cell, (len(chosen) + 1) // 2 * cell), "white")
    pen = ImageDraw.Draw(sheet)
    for place, k in enumerate(chosen):
        left, top = (place % 2) * len(order) * cell, place // 2 * cell
        for column, name in enumerate(order):
            sheet.paste(opened([answers[name][k]])[0], (left + column * cell, top))
        pen.text((left + cell, top + SIDE_PX), asked[k]["content"], fill="black")
    sheet.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    told = parser.add_subparsers(dest="what", required=True)
    one = told.add_parser("lists")
    one.add_argument("pictures", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("--families", type=Path, action="append", default=[])
    one = told.add_parser("parts")
    one.add_argument("out", type=Path)
    one.add_argument("--steps", type=int, default=2000)
    one = told.add_parser("measure")
    one.add_argument("pictures", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("--painted", type=Path, required=True)
    one.add_argument("--ignoring", type=Path, required=True)
    given = parser.parse_args()
    if given.what == "lists":
        lists(given.pictures, given.families, given.out)
    elif given.what == "parts":
        parts(given.out, given.steps)
    else:
        measure(given.pictures, given.out, given.painted, given.ignoring)


if __name__ == "__main__":
    main()
