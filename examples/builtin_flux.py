"""The parts of a small FLUX that train-flux does not train, its data, and how well it paints.

  python examples/builtin_flux.py lists PICTURES OUT [--families DIR] [--words N]
  python examples/builtin_flux.py parts OUT [--steps N]
  python examples/builtin_flux.py ship OUT FOLDER
  python examples/builtin_flux.py measure OUT --painted DIR --ignoring DIR [--asked choosing]

lists    OUT/train.jsonl and OUT/heldout.jsonl (pictures by style, freely licensed ones to train on)
         and OUT/asked.jsonl: for held-out styles, a reference and another picture's words.
parts    OUT/parts, a FLUX folder without transformer: an autoencoder of 8 px a latent, trained on
         the pictures of OUT/train.jsonl; a T5 and a CLIP whose words are wordllama's vectors.
ship     FOLDER, the finished model with all its weights in half precision.
measure  style accuracy, style score (cosine to the style's mean) and content accuracy of what was
         painted, of the reference itself (copying it), of what was painted without it (ignoring
         it), of any training picture of the words (ignoring it, too, and well drawn), and of the
         real pictures, with 95 % intervals by drawing styles again; OUT/grid-heldout.png.
"""

import argparse
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline
from PIL import Image, ImageDraw
from safetensors import safe_open
from safetensors.torch import save_file
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
from megastyle_cli.models.patch_autoencoder import PatchAutoencoder
from megastyle_cli.stream.progress import say

# n pictures, d width, v words
Array = np.ndarray[Any, np.dtype[Any]]
Rows = list[dict[str, Any]]

SIDE_PX = 64
WORDS_A_PROMPT = 4
FREE = re.compile(r"MIT|Apache-2.0|ISC|BSD-\d-Clause|CC0-1.0|CC-BY-\d\.0|OFL-1.1|Unlicense")
LATENTS = 16
FEWEST = 30  # pictures of a style to choose by
REFERENCES, CONTENTS = 2, 5  # references of a held-out style, and words painted after each

# Sets to choose settings by; none is a relative of a held-out one.
ASIDE = frozenset(
    ("lets-icons", "tango", "noto", "noto-v1", "simple-line-icons", "iconamoon", "ri")
    + ("majesticons", "fa7-solid", "oi", "iconmind")
)
# Icons of one thing under several names, and names that every designer draws otherwise.
ALSO = {
    other: name
    for name, others in {
        "home": "house",
        "settings": "gear cog",
        "mail": "envelope email",
        "card": "credit-card",
        "cart": "shopping-cart",
        "pin": "location map-pin location-pin marker",
        "microphone": "mic",
        "search": "magnifying-glass magnifier",
        "save": "floppy-disk floppy",
        "lock": "lock-closed locked",
        "image": "picture photo",
        "chat": "comment message",
        "close": "x times cross",
        "plus": "add",
        "minus": "subtract",
        "printer": "print",
        "question": "help question-mark",
        "info": "information",
        "lightning": "bolt flash",
        "box": "package",
        "speaker": "volume volume-high volume-up speaker-high",
        "monitor": "display",
        "video": "video-camera",
        "music": "musical-note music-note",
        "users": "people group",
        "user": "person",
        "trash": "trash-can bin",
        "document": "file",
        "pencil": "pen",
        "harddisk": "hard-drive",
        "fire": "flame",
        "airplane": "plane",
    }.items()
    for other in others.split()
}
SHAPELESS = frozenset(("share", "move", "table", "stop", "circle", "square", "apple", "bluetooth"))


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


def opened(names: Sequence[str]) -> list[Image.Image]:
    """The pictures, RGB, at the model's size."""
    return [
        Image.open(name).convert("RGB").resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
        for name in names
    ]


def lists(pictures: Path, families: Sequence[Path], out: Path, num_words: int) -> None:
    """Who is trained on, who is held out, and what is asked of the model afterwards.

    Settings are chosen by the styles of `ASIDE`: they are in train.jsonl with the split "heldout",
    so that train-flux measures on them. Styles that are held out are in heldout.jsonl alone.
    """
    rows = [named(row) for row in read(pictures / "metadata.jsonl")]
    held_out = [row for row in rows if row["split"] == "heldout"]
    seen = [row for row in rows if row["split"] != "heldout"]
    groups = {row["group"] for row in held_out}
    for folder in families:  # of other groups: variants of a held-out set are its relatives
        more = [named(row) for row in read(folder / "metadata.jsonl")]
        seen += [row for row in more if row["group"] not in groups]
    free = [row for row in seen if FREE.fullmatch(row["license"])]
    styles_of: dict[str, set[str]] = {}
    for row in free:
        styles_of.setdefault(row["content"], set()).add(row["style_id"])
    asked_for = {row["content"] for row in held_out}
    known = sorted(asked_for, key=lambda word: -len(styles_of.get(word, ())))
    others = sorted(set(styles_of) - asked_for, key=lambda word: (-len(styles_of[word]), word))
    kept = set([*known, *(word for word in others if word not in SHAPELESS)][:num_words])
    chosen = [row for row in free if row["content"] in kept]
    small = out / "pictures"
    small.mkdir(parents=True, exist_ok=True)
    trained: Rows = []
    for k, row in enumerate(chosen):
        name = small / f"{k:06}.png"
        opened([row["file_name"]])[0].save(name)
        split = "heldout" if set_of(row) in ASIDE else "train"
        trained.append({**row, "file_name": f"pictures/{name.name}", "split": split})
    write(out / "train.jsonl", trained)
    write(out / "heldout.jsonl", held_out)
    write(out / "asked.jsonl", questions(held_out, kept))
    aside = [row for row in read(out / "train.jsonl") if row["split"] == "heldout"]
    own = {row["style_id"] for row in rows}  # of FAMILIES they would be here twice
    sizes = Counter(row["style_id"] for row in aside)
    plain = [r for r in aside if r["style_id"] in own and sizes[r["style_id"]] >= FEWEST]
    write(out / "choosing.jsonl", plain)
    write(out / "asked-choosing.jsonl", questions(plain, asked_for))
    num_styles = len({row["style_id"] for row in trained if row["split"] == "train"})
    say(
        f"{len(trained) - len(aside)} pictures of {num_styles} styles and {len(kept)} contents to"
        f" train on, {len(aside)} to choose by, {len(held_out)} held out"
    )


def named(row: dict[str, Any]) -> dict[str, Any]:
    """The record with its content as a prompt; icons go by several names for the same."""
    content = str(row["content"])
    return {**row, "content": words_of(ALSO.get(content, content))}


def words_of(content: str) -> str:
    """A content as a prompt: icons are named arrow-left."""
    return content.replace("-", " ").replace("_", " ")


def set_of(row: dict[str, Any]) -> str:
    """The set of icons that a picture comes from."""
    source = str(row["source"])
    if source.startswith("@iconify/json "):
        return source.removeprefix("@iconify/json ").partition(":")[0]
    return str(row["group"])


def questions(rows: Rows, taught: set[str]) -> Rows:
    """For each style some references, and other pictures' words to be painted after each."""
    rng = np.random.default_rng(0)
    asked: Rows = []
    for style in sorted({row["style_id"] for row in rows}):
        own = [r for r in rows if r["style_id"] == style and r["content"] in taught]
        for reference in rng.choice(len(own), REFERENCES, replace=False).tolist():
            others = [k for k in range(len(own)) if own[k]["content"] != own[reference]["content"]]
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
    return asked


def parts(out: Path, steps: int) -> None:
    """Writes all of a FLUX but its transformer."""
    rows = read(out / "train.jsonl")
    words = sorted({word for row in rows for word in row["content"].lower().split()})
    names = [row["file_name"] for row in rows if row["split"] == "train"]
    vectors = torch.from_numpy(load("text_embedder", "builtin").embed(words)).float()  # (v, 256)
    ready = out / "vae"  # trained before
    if not ready.is_dir():
        autoencoder(names, steps).save_pretrained(ready)
    vae = PatchAutoencoder.from_pretrained(ready)
    tokenizer, t5 = spelled_t5(words, vectors)
    clip_tokenizer, clip = spelled_clip(words, vectors)
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae,
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


def autoencoder(names: Sequence[str], steps: int, batch: int = 16) -> PatchAutoencoder:
    """A patch autoencoder, trained to give pictures and their edges back.

    It begins at the principal components of patches, each scaled by the root of its size, and
    learns what they lack. Its latents have a mean square of 1, and are given to the decoder with
    some noise, since those that FLUX paints are not exact.
    """
    torch.manual_seed(0)
    vae = PatchAutoencoder(LATENTS)
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in opened(names)]))
    pixels = pixels.permute(0, 3, 1, 2)  # (n, 3, 64, 64) uint8

    def drawn(count: int) -> Tensor:
        return pixels[rng.integers(len(pixels), size=count)].float() / 127.5 - 1

    begin_at_components(vae, drawn(1500))
    vae.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), weight_decay=0.01, fused=True)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1.5e-3 * min(1, (step + 1) / 20) * (1 - step / steps)
        shown = drawn(batch).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            latents = vae.encode(shown).latent_dist.mode().float()
            decoded = vae.decode(latents + 0.06 * torch.randn_like(latents)).sample.float()
        error = decoded - shown
        edge_error = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        loss = error.abs().mean() + edge_error
        loss = loss + 0.02 * (latents.square().mean() - 1).square()
        loss = loss + 0.005 * latents.mean((0, 2, 3)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == steps - 1:
            say(f"autoencoder {step}/{steps}: {error.abs().mean().item():.4f}")
    vae.eval()
    with torch.no_grad():
        latents = vae.encode(drawn(256)).latent_dist.mode()
    vae.register_to_config(
        shift_factor=float(latents.mean()), scaling_factor=float(1 / latents.std())
    )
    return vae


def begin_at_components(vae: PatchAutoencoder, pixels: Tensor) -> None:
    """Sets the straight paths to the principal components of the patches of `pixels`."""
    patches = functional.pixel_unshuffle(pixels, vae.patch_px)
    rows = patches.permute(0, 2, 3, 1).flatten(0, 2)  # (patches, 192)
    middle = rows.mean(0)
    _, sizes, axes = torch.linalg.svd(rows - middle, full_matrices=False)
    std, axes = sizes[:LATENTS] / len(rows) ** 0.5, axes[:LATENTS]
    scale = (std * std.mean()).sqrt()  # (c,): between what they are and all alike
    into, out = axes / scale[:, None], (axes * scale[:, None]).T
    with torch.no_grad():
        vae.straight_in.weight.copy_(into[..., None, None])
        vae.straight_in.bias.copy_(-into @ middle)
        vae.straight_out.weight.copy_(out[..., None, None])
        vae.straight_out.bias.copy_(middle)


def ship(out: Path, to: Path) -> None:
    """Copies the finished model with all its weights in half precision."""
    shutil.copytree(out / "run" / "flux", to, dirs_exist_ok=True)
    kinds = {
        "vae": PatchAutoencoder,
        "text_encoder": CLIPTextModel,
        "text_encoder_2": T5EncoderModel,
    }
    for name, kind in kinds.items():
        part = kind.from_pretrained(out / "parts" / name)
        part.half().save_pretrained(to / name)
    forget_folders(to)
    size = sum(file.stat().st_size for file in to.rglob("*") if file.is_file())
    say(f"{to}: {size / 1e6:.1f} MB")


def forget_folders(model: Path) -> None:
    """Takes out of a model's files in which folders of this machine it was made."""
    for path in [*model.glob("*.json"), *model.glob("*/config.json")]:
        told = json.loads(path.read_text())
        if told.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(told, indent=2) + "\n")
    path = model / "transformer" / "diffusion_pytorch_model.safetensors"
    with safe_open(path, "pt") as weights:
        facts = weights.metadata()
        tensors = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
    facts["megastyle.model"] = Path(facts["megastyle.model"]).name
    save_file(tensors, path, facts)


def measure(out: Path, which: str, painted: Path, ignoring: Path) -> None:
    """Prints the table and draws the grid."""
    asked = read(out / ("asked.jsonl" if which == "heldout" else f"asked-{which}.jsonl"))
    styles = np.array([row["style_id"] for row in asked])
    answers = {
        "painted": found(painted, asked),
        "copying the reference": [row["style_file_name"] for row in asked],
        "ignoring the reference": found(ignoring, asked),
        "any picture of the words": anything(out, asked),
        "the real picture": [row["target_file_name"] for row in asked],
    }
    style_of = style_judge(read(out / f"{which}.jsonl"), asked)
    content_of = content_judge(out)
    told: dict[str, dict[str, Array]] = {}
    for name, files in answers.items():
        shown = opened(files)
        right, score = style_of(shown)
        told[name] = {
            "style": right,
            "style score": score,
            "content": content_of(shown) == np.array([row["content"] for row in asked]),
        }
        row = [f"{what} {interval(those, styles)}" for what, those in told[name].items()]
        say("   ".join([f"{name:24}", *row]))
    for what, other in (
        ("content", "copying the reference"),
        ("style", "ignoring the reference"),
        ("style", "any picture of the words"),
        ("style score", "ignoring the reference"),
        ("style score", "any picture of the words"),
    ):
        difference = told["painted"][what].astype(float) - told[other][what]
        say(f"{what}: painted minus {other}: {interval(difference, styles)}")
    grid(asked, answers, out / f"grid-{which}.png")


def anything(out: Path, asked: Rows) -> list[str]:
    """For each question a picture of what it asks for, of any style that was trained on."""
    rng = np.random.default_rng(0)
    rows = [row for row in read(out / "train.jsonl") if row["split"] == "train"]
    files: dict[str, list[str]] = {}
    for row in rows:
        files.setdefault(row["content"], []).append(row["file_name"])
    return [str(rng.choice(files[row["content"]])) for row in asked]


def found(folder: Path, asked: Rows) -> list[str]:
    """The painted pictures, in the order they were asked for."""
    made = {row["id"]: row["file_name"] for row in read(folder / "metadata.jsonl")}
    missing = [row["id"] for row in asked if row["id"] not in made]
    if missing:
        sys.exit(f"{folder} lacks {len(missing)} pictures, such as {missing[0]}")
    return [made[row["id"]] for row in asked]


def style_judge(rows: Rows, asked: Rows) -> Any:
    """Whether a picture's nearest of all styles of `rows` is the one asked for; its cosine to that.

    A style is the mean of the builtin style vectors of its pictures, without those of the contents
    of question and reference, so that neither can be recognised by what it shows.
    """
    encoder = load("style_encoder", "builtin")
    vectors = encoder.embed(opened([row["file_name"] for row in rows]))
    names = sorted({row["style_id"] for row in rows})
    content = {row["file_name"]: row["content"] for row in rows}

    def judged(shown: Sequence[Image.Image]) -> tuple[Array, Array]:
        right, scores = [], []
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
            cosines = table @ vector
            right.append(names[int(cosines.argmax())] == row["style_id"])
            scores.append(cosines[names.index(row["style_id"])])
        return np.array(right), np.array(scores)

    return judged


def content_judge(out: Path) -> Any:
    """What a picture shows, by ridge regression on its edges, learned from the training pictures.

    Only contents that are asked for are known to it.
    """
    known = sorted({row["content"] for row in read(out / "asked.jsonl")})
    trained = [row for row in read(out / "train.jsonl") if row["split"] == "train"]
    rows = [row for row in trained if row["content"] in set(known)]
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
    one.add_argument("--words", type=int, default=24)
    one = told.add_parser("parts")
    one.add_argument("out", type=Path)
    one.add_argument("--steps", type=int, default=2000)
    one = told.add_parser("ship")
    one.add_argument("out", type=Path)
    one.add_argument("to", type=Path)
    one = told.add_parser("measure")
    one.add_argument("out", type=Path)
    one.add_argument("--asked", choices=["heldout", "choosing"], default="heldout")
    one.add_argument("--painted", type=Path, required=True)
    one.add_argument("--ignoring", type=Path, required=True)
    given = parser.parse_args()
    if given.what == "lists":
        lists(given.pictures, given.families, given.out, given.words)
    elif given.what == "parts":
        parts(given.out, given.steps)
    elif given.what == "ship":
        ship(given.out, given.to)
    else:
        measure(given.out, given.asked, given.painted, given.ignoring)


if __name__ == "__main__":
    main()
