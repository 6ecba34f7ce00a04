"""How well a small FLUX paints in styles it never saw.

  python examples/builtin_flux_measure.py OUT --painted DIR --ignoring DIR [--asked choosing]

Style accuracy, style score (cosine to the style's mean) and content accuracy of what was painted,
of the reference itself (copying it), of what was painted without it (ignoring it), of any training
picture of the words (ignoring it, too, and well drawn), and of the real pictures, with 95 %
intervals by drawing styles again; and OUT/grid-heldout.png.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from builtin_flux_data import SIDE_PX, Rows, opened, read
from PIL import Image, ImageDraw

from megastyle_cli.models.registry import load
from megastyle_cli.runner.progress import say

# n pictures, d numbers
Array = np.ndarray[Any, np.dtype[Any]]


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
    parser.add_argument("out", type=Path)
    parser.add_argument("--asked", choices=["heldout", "choosing"], default="heldout")
    parser.add_argument("--painted", type=Path, required=True)
    parser.add_argument("--ignoring", type=Path, required=True)
    given = parser.parse_args()
    measure(given.out, given.asked, given.painted, given.ignoring)


if __name__ == "__main__":
    main()
