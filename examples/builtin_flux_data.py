"""Prepares the training images of a small FLUX and the requests that test it afterwards.

  python examples/builtin_flux_data.py PICTURES OUT [--families DIR] [--words N]

Writes OUT/train.jsonl and OUT/heldout.jsonl (pictures by style, freely licensed ones to train on)
and OUT/asked.jsonl: for held-out styles, a reference and the prompt of another picture.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from megastyle_cli.runner.progress import say

Rows = list[dict[str, Any]]

SIDE_PX = 64
FREE_LICENSES = re.compile(
    r"MIT|Apache-2.0|ISC|BSD-\d-Clause|CC0-1.0|CC-BY-\d\.0|OFL-1.1|Unlicense"
)
MIN_IMAGES = 30  # images of a style used for validation
REFERENCES, CONTENTS = 2, 5  # references per held-out style, and prompts per reference

# Icon sets used to choose settings; none is related to a held-out one.
VALIDATION_SETS = frozenset(
    ("lets-icons", "tango", "noto", "noto-v1", "simple-line-icons", "iconamoon", "ri")
    + ("majesticons", "fa7-solid", "oi", "iconmind")
)
# Several names of one thing; and names that every designer draws differently.
CANONICAL_NAMES = {
    other: name
    for name, other_words in {
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
    for other in other_words.split()
}
AMBIGUOUS = frozenset(("share", "move", "table", "stop", "circle", "square", "apple", "bluetooth"))


def read_records(path: Path) -> Rows:
    """The records of a JSON lines file, file names made absolute."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        for key in ("file_name", "style_file_name", "target_file_name"):
            if key in row:
                row[key] = str((path.parent / row[key]).resolve())
    return rows


def write_records(path: Path, rows: Rows) -> None:
    """Writes records as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def open_images(names: Sequence[str]) -> list[Image.Image]:
    """The images as RGB, at the model's size."""
    return [
        Image.open(name).convert("RGB").resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
        for name in names
    ]


def write_lists(pictures: Path, families: Sequence[Path], out: Path, num_words: int) -> None:
    """Writes the lists of training images, of held-out images and of test requests.

    The styles of `VALIDATION_SETS`, used to choose settings, are in train.jsonl with the split
    "heldout", so that train-flux validates on them. Held-out styles are in heldout.jsonl alone.
    """
    rows = [with_prompt(row) for row in read_records(pictures / "metadata.jsonl")]
    held_out = [row for row in rows if row["split"] == "heldout"]
    candidates = [row for row in rows if row["split"] != "heldout"]
    groups = {row["group"] for row in held_out}
    for folder in families:  # not of the same groups: variants of a held-out set are related to it
        more = [with_prompt(row) for row in read_records(folder / "metadata.jsonl")]
        candidates += [row for row in more if row["group"] not in groups]
    free = [row for row in candidates if FREE_LICENSES.fullmatch(row["license"])]
    styles_of: dict[str, set[str]] = {}
    for row in free:
        styles_of.setdefault(row["content"], set()).add(row["style_id"])
    held_out_words = {row["content"] for row in held_out}
    known = sorted(held_out_words, key=lambda word: -len(styles_of.get(word, ())))
    other_words = sorted(
        set(styles_of) - held_out_words, key=lambda word: (-len(styles_of[word]), word)
    )
    vocabulary = set([*known, *(word for word in other_words if word not in AMBIGUOUS)][:num_words])
    selected = [row for row in free if row["content"] in vocabulary]
    images = out / "pictures"
    images.mkdir(parents=True, exist_ok=True)
    records: Rows = []
    for k, row in enumerate(selected):
        name = images / f"{k:06}.png"
        open_images([row["file_name"]])[0].save(name)
        split = "heldout" if icon_set(row) in VALIDATION_SETS else "train"
        records.append({**row, "file_name": f"pictures/{name.name}", "split": split})
    write_records(out / "train.jsonl", records)
    write_records(out / "heldout.jsonl", held_out)
    write_records(out / "asked.jsonl", questions(held_out, vocabulary))
    validation = [row for row in read_records(out / "train.jsonl") if row["split"] == "heldout"]
    own = {row["style_id"] for row in rows}  # with FAMILIES they would occur twice
    sizes = Counter(row["style_id"] for row in validation)
    untreated = [
        r for r in validation if r["style_id"] in own and sizes[r["style_id"]] >= MIN_IMAGES
    ]
    write_records(out / "choosing.jsonl", untreated)
    write_records(out / "asked-choosing.jsonl", questions(untreated, held_out_words))
    num_styles = len({row["style_id"] for row in records if row["split"] == "train"})
    say(
        f"{len(records) - len(validation)} pictures of {num_styles} styles and"
        f" {len(vocabulary)} contents to train on, {len(validation)} to choose by,"
        f" {len(held_out)} held out"
    )


def with_prompt(row: dict[str, Any]) -> dict[str, Any]:
    """The record with its content as a prompt, under one name for each thing."""
    content = str(row["content"])
    return {**row, "content": prompt_words(CANONICAL_NAMES.get(content, content))}


def prompt_words(content: str) -> str:
    """A content as a prompt: "arrow-left" becomes "arrow left"."""
    return content.replace("-", " ").replace("_", " ")


def icon_set(row: dict[str, Any]) -> str:
    """The icon set that an image comes from."""
    source = str(row["source"])
    if source.startswith("@iconify/json "):
        return source.removeprefix("@iconify/json ").partition(":")[0]
    return str(row["group"])


def questions(rows: Rows, known: set[str]) -> Rows:
    """For each style some references, each with the prompts of some other images."""
    rng = np.random.default_rng(0)
    requests: Rows = []
    for style in sorted({row["style_id"] for row in rows}):
        own = [r for r in rows if r["style_id"] == style and r["content"] in known]
        for reference in rng.choice(len(own), REFERENCES, replace=False).tolist():
            other_words = [
                k for k in range(len(own)) if own[k]["content"] != own[reference]["content"]
            ]
            for target in rng.choice(other_words, CONTENTS, replace=False).tolist():
                requests.append(
                    {
                        "id": f"{style}-{own[reference]['content']}-{own[target]['content']}",
                        "style_id": style,
                        "content": own[target]["content"],
                        "style_file_name": own[reference]["file_name"],
                        "target_file_name": own[target]["file_name"],
                    }
                )
    return requests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--families", type=Path, action="append", default=[])
    parser.add_argument("--words", type=int, default=24)
    args = parser.parse_args()
    write_lists(args.pictures, args.families, args.out, args.words)


if __name__ == "__main__":
    main()
