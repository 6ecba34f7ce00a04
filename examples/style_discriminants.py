"""Fits the projection of the builtin style encoder on icons and on renderings of paintings.

  python examples/style_discriminants.py PICTURES RENDERINGS OUT.safetensors

PICTURES is that of style_whitening.py, of which the same families are used. RENDERINGS is a folder
with metadata.jsonl (file_name, style_id, content): paintings over photographs, made by

  python examples/painted_photographs.py examples/pictures SQUARES --crops 1
  megastyle synth SQUARES/pairs.jsonl --size 128 -o RENDERINGS

Each is used in color and in grey, as two styles. What varies within a style is measured on icons
(70 %) and renderings (30 %), and the part of it that a content has in all styles counts four times:
it is what must not be mistaken for a style. The axes kept are those along which the families of
icons differ, and random ones. Two minutes on one core. On another kind of processor the random axes
differ, as in style_whitening.py.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image
from safetensors.numpy import save_file
from style_whitening import discriminants, free_families, style_means

from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.io.images import open_picture
from megastyle_cli.models.builtin.discriminant_encoder import describe

# n images of s styles and c contents, d width of the descriptor, w of the projection
Array = np.ndarray[Any, np.dtype[Any]]
RENDERINGS_SHARE = 0.3
CONTENT_WEIGHT = 4.0
DECODED_PX = 384  # as by the commands


@dataclass(frozen=True)
class Painted:
    """Descriptors (n, d) of renderings, in color and in grey, with their styles and contents."""

    rows: Array
    styles: list[str]
    contents: list[str]

    @classmethod
    def of(cls, folder: Path) -> "Painted":
        """Those of a folder that synth made; the grey ones are styles and contents of their own."""
        records = read_records(folder)
        paths = [folder / record["file_name"] for record in records]
        rows = [describe_all(paths), describe_all(paths, in_grey)]
        both = [(mode, record) for mode in ("color", "grey") for record in records]
        return cls(
            np.concatenate(rows),
            [f"{record['style_id']} in {mode}" for mode, record in both],
            [f"{record['content']} in {mode}" for mode, record in both],
        )

    def without(self, style_ids: set[str | None]) -> "Painted":
        """The others than these paintings."""
        kept = [i for i, s in enumerate(self.styles) if s.rpartition(" in ")[0] not in style_ids]
        return Painted(
            self.rows[kept],
            [self.styles[row] for row in kept],
            [self.contents[row] for row in kept],
        )


def fit(
    rows: Array,
    records: Sequence[dict[str, Any]],
    painted: Painted,
    *,
    share: float = RENDERINGS_SHARE,
    content_weight: float = CONTENT_WEIGHT,
) -> tuple[Array, Array]:
    """Middle (d,) and projection (d, w), fitted on the descriptors `rows` (n, d) of icons and on
    renderings, which have `share` of the scatter within styles."""
    styles = [record["style_id"] for record in records]
    contents = [record["content"] for record in records]
    scatter = (1 - share) * within_styles(rows, styles, contents, content_weight)
    scatter += share * within_styles(painted.rows, painted.styles, painted.contents, content_weight)
    return discriminants(style_means(rows, styles)[0], scatter)


def within_styles(
    rows: Array, styles: Sequence[str], contents: Sequence[str], content_weight: float
) -> Array:
    """The scatter (d, d) of the descriptors `rows` (n, d) around the means of their styles.

    What a content adds in all styles counts `content_weight` times.
    """
    means, own = style_means(rows, styles)
    residuals = rows - means[own]
    by_content, of = style_means(residuals, contents)
    shared = by_content[of]
    scatter: Array = residuals.T @ residuals + (content_weight - 1) * shared.T @ shared
    return scatter / len(rows)


def in_grey(picture: Image) -> Image:
    """The picture without its colors, as RGB."""
    return picture.convert("L").convert("RGB")


def describe_all(paths: Sequence[Path], change: Callable[[Image], Image] | None = None) -> Array:
    """The descriptors (n, d) float64 of image files, of which each is changed if that is given."""

    def descriptor(path: Path) -> Array:
        picture = open_picture(str(path), DECODED_PX)
        return describe(change(picture) if change else picture)

    return np.stack(parallel_map(descriptor, paths)).astype(np.float64)


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The records of metadata.jsonl in a folder."""
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("renderings", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    records = free_families(read_records(args.pictures))
    painted = Painted.of(args.renderings)
    sys.stdout.write(f"{len(records)} icons, {len(painted.rows)} renderings\n")
    rows = describe_all([args.pictures / record["file_name"] for record in records])
    middle, projection = fit(rows, records, painted)
    weights = {"middle": middle.astype(np.float32), "projection": projection.astype(np.float16)}
    save_file(weights, args.out)


if __name__ == "__main__":
    main()
