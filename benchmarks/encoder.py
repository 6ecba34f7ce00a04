"""Images per second and FLOPs of training the style encoder and of scoring with it.

On a GPU the vision tower is the paper's so400m at 384 px; on a CPU it is a small one, whose figures
say nothing about a GPU. Weights and images are random, which does not change the speed. Measured:

train   complete steps on images in device memory (augmentation, tower, loss of the batch, update):
        chunk sizes x eager or compiled x direct (one pass, the cost of 3 forward passes) or cached
        (gradient cache: embedded twice, 4 forward passes)
score   the forward pass alone
loader  from JPEG files to batches in memory
whole   `megastyle train-encoder` on the same files, as a command

  python benchmarks/encoder.py [--config SIZE.json] [--chunks 32,64] [--batch N] [--steps N]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from transformers import SiglipVisionConfig, SiglipVisionModel

from megastyle_cli.io.inputs import read_records
from megastyle_cli.models.encoders.siglip_vision import (
    StyleTower,
    new_tower,
    normalize_pixels,
    read_tower_config,
)
from megastyle_cli.training.encoder.augment import Augmentation, AugmentedImages
from megastyle_cli.training.encoder.data import split_images
from megastyle_cli.training.encoder.gradient_cache import backward
from megastyle_cli.training.encoder.image_loader import ImageLoader
from megastyle_cli.training.encoder.losses import supervised_contrastive
from megastyle_cli.training.encoder.sampler import GroupSampler

SMALL = {
    "hidden_size": 192,
    "intermediate_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 3,
    "image_size": 64,
    "patch_size": 16,
}
SO400M = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
}
PASSES = {"direct": 3, "cached": 4, "score": 1}  # in forward passes; a backward pass is two
CHUNKS_OF_A_CACHED_BATCH = 4
PICTURES = Path(__file__).parents[1] / "examples" / "pictures" / "contents"

Row = dict[str, Any]


def forward_flops(config: SiglipVisionConfig) -> int:
    """FLOPs of one image, a multiply-add counted as two: 670 GFLOP for so400m at 384 px."""
    width, inner = config.hidden_size, config.intermediate_size
    n = (config.image_size // config.patch_size) ** 2
    layer = n * (8 * width**2 + 4 * width * inner) + 4 * n**2 * width
    patches = 2 * n * 3 * config.patch_size**2 * width
    head = 4 * n * width**2 + 4 * n * width + 4 * width**2 + 4 * width * inner
    return patches + config.num_hidden_layers * layer + head


class Bench:
    """A vision tower on a device, and the work to be timed."""

    def __init__(self, config: SiglipVisionConfig, steps: int) -> None:
        self.config, self.steps = config, steps
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
        self.device = self.accelerator.device
        self.is_gpu = self.device.type == "cuda"
        self.dtype = torch.bfloat16 if self.is_gpu else torch.float32
        self.augmentation = Augmentation()

    def rows(self, chunks: list[int], *, with_compiled: bool = True) -> Iterator[Row]:
        """Measures training and scoring, one row each."""
        for is_compiled in (False, True) if with_compiled else (False,):
            vision = new_tower(self.config, seed=0).train().to(self.device)
            if is_compiled:
                for layer in vision.encoder.layers:
                    layer.compile()
            for chunk in chunks:
                for way in PASSES:
                    yield self._row(vision, way, chunk, is_compiled)
            del vision

    def _row(self, vision: SiglipVisionModel, way: str, chunk: int, is_compiled: bool) -> Row:
        size = chunk * (CHUNKS_OF_A_CACHED_BATCH if way == "cached" else 1)
        row: Row = {"what": way, "layers": "compiled" if is_compiled else "eager", "chunk": chunk}
        work = self._scoring(vision, size) if way == "score" else self._step(vision, size, chunk)
        if self.is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            seconds = self._median_s(work)
        except torch.OutOfMemoryError:
            return row | {"images_per_s": None}
        row["images_per_s"] = size / seconds
        row["tflop_per_s"] = size / seconds * forward_flops(self.config) * PASSES[way] / 1e12
        if self.is_gpu:
            row["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        return row

    def _step(self, vision: SiglipVisionModel, size: int, chunk: int) -> Callable[[], None]:
        tower = StyleTower(vision, self.dtype)
        optimizer = torch.optim.AdamW(vision.parameters(), lr=0.0, fused=self.is_gpu)
        side_px = self.config.image_size
        decoded_px = self.augmentation.decoded_px(side_px)
        pixels = self._pixels(size, decoded_px)
        draws = self.augmentation.draws(0, 0, size).to(self.device)
        styles = torch.arange(size, device=self.device) // 4

        images = AugmentedImages(pixels, draws, self.augmentation, side_px)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            backward(
                tower,
                images,
                styles,
                lambda z, y: supervised_contrastive(z, y, 0.1).gradient,
                self.accelerator,
                chunk,
            )
            optimizer.step()

        return step

    def _scoring(self, vision: SiglipVisionModel, size: int) -> Callable[[], None]:
        tower = StyleTower(vision, self.dtype)
        pixels = self._pixels(size, self.config.image_size)

        def score() -> None:
            with torch.no_grad():
                tower(normalize_pixels(pixels))

        return score

    def _pixels(self, size: int, side_px: int) -> torch.Tensor:
        drawn = torch.randint(0, 256, (size, 3, side_px, side_px), dtype=torch.uint8)
        return drawn.to(self.device)

    def _median_s(self, work: Callable[[], None]) -> float:
        """The median of `steps` runs in seconds, after two warm-up runs."""
        took = []
        for _ in range(2 + self.steps):
            self._wait()
            started = time.perf_counter()
            work()
            self._wait()
            took.append(time.perf_counter() - started)
        return statistics.median(took[2:])

    def _wait(self) -> None:
        if self.is_gpu:
            torch.cuda.synchronize()


def make_pictures(folder: Path, count: int, side_px: int) -> Path:
    """Creates JPEGs in styles of four, cropped from the example photographs; returns `folder`."""
    sources = sorted(PICTURES.glob("*.jpg"))
    lines = []
    for number in range(count):
        with Image.open(sources[number % len(sources)]) as source:
            shift = number // len(sources) % 32
            box = (shift, shift, source.width - shift, source.height - shift)
            picture = source.resize((side_px, side_px), Image.Resampling.BICUBIC, box)
        picture.save(folder / f"{number}.jpg", quality=95)
        lines.append({"id": str(number), "file_name": f"{number}.jpg", "style_id": number // 4})
    listing = folder / "metadata.jsonl"
    listing.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def loader_row(folder: Path, batch: int, side_px: int, steps: int) -> Row:
    """Images per second from files to batches in memory."""
    found = split_images(
        read_records([str(folder)]), label="style_id", holdout=0, split_key=None, seed=0
    ).training
    sampler = GroupSampler(found.styles, groups_per_batch=batch // 4, k=4, seed=0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader = ImageLoader(found, sampler, side_px=side_px, device=device, rank=0, world=1)
    batches = loader.batches(0, steps + 2)
    next(batches)
    started = time.perf_counter()
    number = sum(len(each.rows) for each in batches)
    seconds = time.perf_counter() - started
    loader.close()
    return {"what": "loader", "images_per_s": number / seconds}


def whole_row(folder: Path, config: Path, batch: int, steps: int) -> Row:
    """The median of the speeds that the command logs, without its first step."""
    out = folder.parent / "run"
    flags = f"--text-weight 0 --holdout 0 --global-batch {batch} --steps {steps + 1} -q"
    command = [sys.executable, "-m", "megastyle_cli", "train-encoder", str(folder)]
    subprocess.run(
        [*command, "--init", str(config), "-o", str(out), *flags.split()],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    speeds = [line["images_per_s"] for line in metrics if "loss" in line]
    return {"what": "whole", "chunk": "auto", "images_per_s": float(np.median(speeds[1:]))}


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    keys = ("what", "layers", "chunk", "images_per_s", "tflop_per_s", "peak_gib")
    lines = ["| " + " | ".join(keys) + " |", "| --- " * len(keys) + "|"]
    for row in rows:
        cells = [row.get(key, "") for key in keys]
        if row["images_per_s"] is None:
            cells[3] = "out of memory"
        shown = [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells]
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table, then the same rows as one line of JSON."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--config", type=Path, help="size of the tower, as JSON")
    parser.add_argument("--chunks", help="such as 32,64,96")
    parser.add_argument("--batch", type=int, help="pictures of a step of loader and whole")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each row")
    args = parser.parse_args()
    is_gpu = torch.cuda.is_available()
    tower = json.loads(args.config.read_text()) if args.config else SO400M if is_gpu else SMALL
    chunks = args.chunks or ("32,64,96,128,192" if is_gpu else "32,128")
    batch = args.batch or (1024 if is_gpu else 256)
    with tempfile.TemporaryDirectory() as scratch:
        config_file = Path(scratch, "size.json")
        config_file.write_text(json.dumps({"model_type": "siglip_vision_model", **tower}))
        config = read_tower_config(config_file)
        where = torch.cuda.get_device_name() if is_gpu else f"{os.cpu_count()} cores, no GPU"
        facts = {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "where": where,
            "threads": torch.get_num_threads(),
            "gflop_per_image": round(forward_flops(config) / 1e9, 3),
            "tower": tower,
        }
        sys.stdout.write("".join(f"{name}: {value}\n" for name, value in facts.items()))
        rows = list(Bench(config, args.steps).rows([int(n) for n in chunks.split(",")]))
        imgs = Path(scratch, "imgs")
        imgs.mkdir()
        decoded_px = Augmentation().decoded_px(config.image_size)
        make_pictures(imgs, 2 * batch, max(decoded_px, 128))
        rows.append(loader_row(imgs, batch, decoded_px, args.steps))
        rows.append(whole_row(imgs, config_file, batch, args.steps))
    sys.stdout.write(f"{table(rows)}\n{json.dumps({**facts, 'rows': rows})}\n")


if __name__ == "__main__":
    main()
