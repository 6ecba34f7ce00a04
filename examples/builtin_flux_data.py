"""The pictures that a small FLUX learns from, and what is asked of it afterwards.

  python examples/builtin_flux_data.py PICTURES OUT [--families DIR] [--words N]

Writes OUT/train.jsonl and OUT/heldout.jsonl (pictures by style, freely licensed ones to train on)
and OUT/asked.jsonl: for held-out styles, a reference and another picture's words.
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
FREE = re.compile(r"MIT|Apache-2.0|ISC|BSD-\d-Clause|CC0-1.0|CC-BY-\d\.0|OFL-1.1|Unlicense")
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--families", type=Path, action="append", default=[])
    parser.add_argument("--words", type=int, default=24)
    given = parser.parse_args()
    lists(given.pictures, given.families, given.out, given.words)


if __name__ == "__main__":
    main()
