"""agreement: style vectors in bfloat16 against float32, by their cosines and by what they retrieve.

  benchmarks/gpu.sh agreement
  python -m benchmarks.gpu.agreement [RECORDS --model NAME]

RECORDS are images with style_id and, if they have one, content_id: each is searched for its style
among the others, those of its content left out. Without them it is the sheet of icons of the tests,
36 styles, and a tower with random weights. On a CPU autocast is that of a GPU, emulated.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from PIL import Image
from transformers import SiglipVisionConfig

from benchmarks.encoder import SMALL, SO400M
from benchmarks.gpu.machine import DEVICE, HAS_GPU, Row, facts, measured, table
from megastyle_cli.evaluate.metrics import retrieval_scores
from megastyle_cli.io.images import ImageReader
from megastyle_cli.io.inputs import read_records
from megastyle_cli.models.encoders.siglip_vision import new_tower, save_folder
from megastyle_cli.models.encoders.style_encoder import SiglipEncoder
from tests.cuda_autocast import gpu_autocast

ICONS = Path(__file__).parents[2] / "tests" / "pictures" / "icons.png"  # a row for each style
ICON_PX = 32
TYPES = ("float32", "bfloat16")


def rows() -> Iterator[Row]:
    """Both types on the icons, with random weights; on few of them without a GPU."""
    yield from _of_icons(36 if HAS_GPU else 2)


def _of_icons(num_styles: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        tower = new_tower(SiglipVisionConfig(**(SO400M if HAS_GPU else SMALL)), seed=0)
        save_folder(tower, Path(scratch))
        yield from compare(scratch, *icons(num_styles))


def icons(num_styles: int) -> tuple[list[Image.Image], list[str], list[str]]:
    """The icons of that many rows of the sheet, the style of each and its content."""
    sheet = Image.open(ICONS).convert("RGB")
    corners = [
        (left, top)
        for top in range(0, num_styles * ICON_PX, ICON_PX)
        for left in range(0, sheet.width, ICON_PX)
    ]
    pictures = [sheet.crop((x, y, x + ICON_PX, y + ICON_PX)) for x, y in corners]
    return pictures, [str(y) for _, y in corners], [str(x) for x, _ in corners]


def compare(
    model: str, pictures: Sequence[Image.Image], styles: list[str], contents: list[str] | None
) -> Iterator[Row]:
    """Each type: the least and the mean cosine with float32, and the measures of retrieval."""
    exact = None
    for dtype in TYPES:

        def measure() -> Row:
            nonlocal exact
            is_emulated = not HAS_GPU and dtype != "float32"  # noqa: B023
            with gpu_autocast() if is_emulated else nullcontext():
                vectors = SiglipEncoder(model, str(DEVICE), dtype).embed(pictures)  # noqa: B023
            exact = vectors if exact is None else exact
            cosines = (vectors.astype(np.float64) * exact).sum(axis=1)
            scores = retrieval_scores(
                vectors, styles, contents, ks=(1, 10), exclude_same_content=contents is not None
            )
            return {
                "least cosine": f"{cosines.min():.6f}",
                "mean cosine": f"{cosines.mean():.6f}",
                **{name: f"{100 * scores[name]:.2f} %" for name in ("recall_1", "map_10")},
                "CSD's mAP@10": f"{100 * scores['map_csd_10']:.2f} %",
            }

        yield measured({"dtype": dtype, "images": len(pictures)}, measure)


def read_labelled(
    names: Sequence[str],
) -> tuple[list[Image.Image], list[str], list[str] | None]:
    """The images that can be read, their styles, and their contents if all have one."""
    records = [found for found in read_records(names) if isinstance(found, dict)]
    labelled = [record for record in records if "style_id" in record and "file_name" in record]
    images = ImageReader().read([str(record["file_name"]) for record in labelled])
    kept = [
        (image, record)
        for image, record in zip(images, labelled, strict=True)
        if isinstance(image, Image.Image)
    ]
    if not kept:
        sys.exit("no image with a style_id could be read")
    contents = [str(record.get("content_id")) for _, record in kept]
    has_contents = all("content_id" in record for _, record in kept)
    styles = [str(record["style_id"]) for _, record in kept]
    return [image for image, _ in kept], styles, contents if has_contents else None


def main() -> None:
    """Prints the table, for images and a model of one's own or for all icons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", nargs="*")
    parser.add_argument("--model", help="of a SigLIP: a folder, a file or a name")
    args = parser.parse_args()
    if bool(args.records) != bool(args.model):
        parser.error("give both RECORDS and --model, or neither")
    found = compare(args.model, *read_labelled(args.records)) if args.model else _of_icons(36)
    sys.stdout.write(f"{facts()}\n\n{table(list(found))}\n")


if __name__ == "__main__":
    main()
