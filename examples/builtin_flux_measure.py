"""Measures how well a small FLUX renders prompts in styles it was not trained on.

  python examples/builtin_flux_measure.py OUT --painted DIR --ignoring DIR [--asked choosing]

Style accuracy, style score (cosine to the mean of the style) and content accuracy of the generated
images and of four baselines: the reference itself, images generated without it, training images of
the same content, and the real pictures. With 95 % intervals from resampled styles; writes
OUT/grid-heldout.png, too.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from builtin_flux_data import SIDE_PX, Rows, open_images, read_records
from PIL import Image, ImageDraw

from megastyle_cli.models.registry import load
from megastyle_cli.runner.progress import say

# n images, d features
Array = np.ndarray[Any, np.dtype[Any]]


def measure(out: Path, which: str, generated: Path, ignoring: Path) -> None:
    """Prints the table and draws the grid."""
    requests = read_records(out / ("asked.jsonl" if which == "heldout" else f"asked-{which}.jsonl"))
    styles = np.array([row["style_id"] for row in requests])
    candidates = {
        "painted": generated_files(generated, requests),
        "copying the reference": [row["style_file_name"] for row in requests],
        "ignoring the reference": generated_files(ignoring, requests),
        "any picture of the words": same_content_files(out, requests),
        "the real picture": [row["target_file_name"] for row in requests],
    }
    style_of = style_classifier(read_records(out / f"{which}.jsonl"), requests)
    content_of = content_classifier(out)
    measures: dict[str, dict[str, Array]] = {}
    for name, files in candidates.items():
        images = open_images(files)
        is_correct, score = style_of(images)
        measures[name] = {
            "style": is_correct,
            "style score": score,
            "content": content_of(images) == np.array([row["content"] for row in requests]),
        }
        row = [
            f"{what} {interval(values_of, styles)}" for what, values_of in measures[name].items()
        ]
        say("   ".join([f"{name:24}", *row]))
    for what, baseline in (
        ("content", "copying the reference"),
        ("style", "ignoring the reference"),
        ("style", "any picture of the words"),
        ("style score", "ignoring the reference"),
        ("style score", "any picture of the words"),
    ):
        difference = measures["painted"][what].astype(float) - measures[baseline][what]
        say(f"{what}: painted minus {baseline}: {interval(difference, styles)}")
    grid(requests, candidates, out / f"grid-{which}.png")


def same_content_files(out: Path, requests: Rows) -> list[str]:
    """For each request a training image of its content, in any style."""
    rng = np.random.default_rng(0)
    rows = [row for row in read_records(out / "train.jsonl") if row["split"] == "train"]
    files: dict[str, list[str]] = {}
    for row in rows:
        files.setdefault(row["content"], []).append(row["file_name"])
    return [str(rng.choice(files[row["content"]])) for row in requests]


def generated_files(folder: Path, requests: Rows) -> list[str]:
    """The generated images in the order of the requests."""
    files_by_id = {row["id"]: row["file_name"] for row in read_records(folder / "metadata.jsonl")}
    missing = [row["id"] for row in requests if row["id"] not in files_by_id]
    if missing:
        sys.exit(f"{folder} lacks {len(missing)} pictures, such as {missing[0]}")
    return [files_by_id[row["id"]] for row in requests]


def style_classifier(rows: Rows, requests: Rows) -> Any:
    """A function: whether the nearest style of `rows` is the requested one, and the cosine to that.

    A style is the mean of the builtin style vectors of its images, leaving out the contents of the
    request and of its reference, so that neither is recognized by its content.
    """
    encoder = load("style_encoder", "builtin")
    vectors = encoder.embed(open_images([row["file_name"] for row in rows]))
    names = sorted({row["style_id"] for row in rows})
    content = {row["file_name"]: row["content"] for row in rows}

    def classify(images: Sequence[Image.Image]) -> tuple[Array, Array]:
        is_correct, scores = [], []
        for row, vector in zip(requests, encoder.embed(images), strict=True):
            excluded = {row["content"], content[row["style_file_name"]]}
            means = []
            for name in names:
                own = [
                    k
                    for k, r in enumerate(rows)
                    if r["style_id"] == name and r["content"] not in excluded
                ]
                means.append(vectors[own].mean(0))
            table = np.stack([mean / np.linalg.norm(mean) for mean in means])
            cosines = table @ vector
            is_correct.append(names[int(cosines.argmax())] == row["style_id"])
            scores.append(cosines[names.index(row["style_id"])])
        return np.array(is_correct), np.array(scores)

    return classify


def content_classifier(out: Path) -> Any:
    """A function: the content of images, by ridge regression on edges of the training images.

    It knows the requested contents only.
    """
    known = sorted({row["content"] for row in read_records(out / "asked.jsonl")})
    training = [row for row in read_records(out / "train.jsonl") if row["split"] == "train"]
    rows = [row for row in training if row["content"] in set(known)]
    x = edge_histograms(open_images([row["file_name"] for row in rows]))
    y = np.eye(len(known))[[known.index(row["content"]) for row in rows]] - 1 / len(known)
    gram = x.T @ x + 0.003 * len(x) * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x.T @ y)
    return lambda images: np.array(
        [known[k] for k in (edge_histograms(images) @ weights).argmax(1)]
    )


def edge_histograms(images: Sequence[Image.Image]) -> Array:
    """Histograms of 8 edge directions in 8 x 8 overlapping cells, weighted by strength, (n, d)."""
    gray = np.stack([np.asarray(picture.convert("L"), np.float64) / 255 for picture in images])
    down, across = np.gradient(gray, axis=(1, 2))
    strength, angle = np.hypot(down, across), np.arctan2(down, across) % np.pi
    bins = np.minimum((angle / np.pi * 8).astype(int), 7)
    cells = []
    for direction in range(8):
        layer = strength * (bins == direction)  # (n, 64, 64)
        pooled = torch.nn.functional.avg_pool2d(torch.from_numpy(layer)[:, None], 12, 8, padding=4)
        cells.append(pooled.flatten(1).numpy())
    rows = np.sqrt(np.concatenate(cells, 1))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6
    return np.concatenate([rows, np.ones((len(rows), 1))], 1)


def interval(values: Array, styles: Array, draws: int = 2000) -> str:
    """The mean in percent and its 95 % interval, by a bootstrap over styles."""
    names = np.unique(styles)
    means = np.array([values[styles == name].mean() for name in names])
    rng = np.random.default_rng(0)
    resampled = means[rng.integers(len(names), size=(draws, len(names)))].mean(1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return f"{100 * means.mean():5.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def grid(requests: Rows, candidates: dict[str, list[str]], path: Path, max_rows: int = 20) -> None:
    """Draws reference, result, result without the reference and real picture side by side."""
    order = ("copying the reference", "painted", "ignoring the reference", "the real picture")
    step = max(1, len(requests) // max_rows)
    shown_rows = range(0, step * min(max_rows, len(requests)), step)
    cell = SIDE_PX + 16
    sheet = Image.new("RGB", (2 * len(order) * cell, (len(shown_rows) + 1) // 2 * cell), "white")
    pen = ImageDraw.Draw(sheet)
    for bins, k in enumerate(shown_rows):
        left, top = (bins % 2) * len(order) * cell, bins // 2 * cell
        for column, name in enumerate(order):
            sheet.paste(open_images([candidates[name][k]])[0], (left + column * cell, top))
        pen.text((left + cell, top + SIDE_PX), requests[k]["content"], fill="black")
    sheet.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--asked", choices=["heldout", "choosing"], default="heldout")
    parser.add_argument("--painted", type=Path, required=True)
    parser.add_argument("--ignoring", type=Path, required=True)
    args = parser.parse_args()
    measure(args.out, args.asked, args.painted, args.ignoring)


if __name__ == "__main__":
    main()
