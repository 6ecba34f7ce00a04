"""encoder, scoring: so400m at 384 px in training, and as `eval` and `retrieve` run it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from transformers import SiglipVisionConfig

from benchmarks.encoder import SMALL, SO400M, Bench, forward_flops, loader_row, make_pictures
from benchmarks.gpu.machine import DEVICE, HAS_GPU, Row, measured, median_s, peak
from megastyle_cli.io.images import ImageReader
from megastyle_cli.io.inputs import read_records
from megastyle_cli.models.encoders.siglip_vision import new_tower, save_folder
from megastyle_cli.models.encoders.style_encoder import SiglipEncoder
from megastyle_cli.retrieval.embed import embed_records

CONFIG = SiglipVisionConfig(**(SO400M if HAS_GPU else SMALL))
CHUNKS = [64, 128] if HAS_GPU else [4]
NUM_FILES, FILE_PX = (2048, 448) if HAS_GPU else (8, 64)


def encoder_rows() -> Iterator[Row]:
    """Training steps: chunk sizes, eager and compiled, in one pass and with the gradient cache."""
    bench = Bench(CONFIG, steps=3 if HAS_GPU else 1)
    for row in bench.rows(CHUNKS, with_compiled=HAS_GPU):
        if row["images_per_s"] is None:
            row["images_per_s"] = "out of memory"
        yield row
    with tempfile.TemporaryDirectory() as scratch:
        folder = make_pictures(Path(scratch), NUM_FILES, FILE_PX)
        yield loader_row(folder, max(4, NUM_FILES // 4), FILE_PX, steps=3)


def scoring_rows() -> Iterator[Row]:
    """Images a second of the encoder that `eval` and `retrieve` load, and its agreement by type."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, files = Path(scratch, "tower"), Path(scratch, "files")
        folder.mkdir(), files.mkdir()
        save_folder(new_tower(CONFIG, seed=0), folder)
        make_pictures(files, NUM_FILES, FILE_PX)
        records = [dict(record) for record in read_records([str(files)])]  # type: ignore[arg-type]
        images = ImageReader().read([str(record["file_name"]) for record in records[:1024]])
        pictures = [image for image in images if isinstance(image, Image.Image)]
        exact = SiglipEncoder(str(folder), str(DEVICE), "float32").embed(pictures[:64])
        for dtype in ("float32", "bfloat16"):
            encoder = SiglipEncoder(str(folder), str(DEVICE), dtype)

            def from_memory() -> Row:
                rows = encoder.embed(pictures[: len(exact)])  # noqa: B023
                seconds = median_s(lambda: encoder.embed(pictures), 2)  # noqa: B023
                speed = len(pictures) / seconds
                cosine = float((rows * exact).sum(axis=1).min())
                return {
                    "images/s": speed,
                    "TFLOP/s": speed * forward_flops(CONFIG) / 1e12,
                    "least cosine with float32": f"{cosine:.6f}",
                    **peak(),
                }

            def from_files() -> Row:
                def run() -> None:
                    found = list(embed_records(records, encoder, ImageReader()))  # noqa: B023
                    assert len(found) == len(records)

                return {"images/s": len(records) / median_s(run, 1), **peak()}

            batch = {"dtype": dtype, "batch": encoder.batch_size}
            yield measured({"what": f"images of {FILE_PX} px in memory", **batch}, from_memory)
            yield measured({"what": f"JPEG files of {FILE_PX} px", **batch}, from_files)
