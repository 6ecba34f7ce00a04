"""Images per second that one core decodes for training, compared with plain Pillow.

Plain Pillow decodes in full and resamples bicubically to 384 px. Figures are by CPU time, which
other load on the machine affects little; the last line is the loader itself on all cores.
"""

import io
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from megastyle_cli.compute.engine import usable_cores
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.inputs import read_records
from megastyle_cli.training.encoder.data import split_images
from megastyle_cli.training.encoder.decode import decode_into
from megastyle_cli.training.encoder.image_loader import ImageLoader
from megastyle_cli.training.encoder.sampler import GroupSampler
from megastyle_cli.training.encoder.shards import pack

PICTURES = Path(__file__).parents[1] / "examples" / "pictures" / "contents"
COUNT = 96
ROUNDS = 5  # the best counts
KINDS = {
    "1024 px JPEG q92": (1024, "JPEG", 92),
    "512 px JPEG q92": (512, "JPEG", 92),
    "448 px JPEG q95": (448, "JPEG", 95),
    "384 px JPEG q95": (384, "JPEG", 95),
    "512 px PNG": (512, "PNG", 0),
}
STEPS, BATCH = 8, 256  # for the loader


def make_pictures(folder: Path, side_px: int, form: str, quality: int) -> list[str]:
    """COUNT different square images, cropped from the example photographs."""
    sources = sorted(PICTURES.glob("*.jpg"))
    folder.mkdir()
    names = []
    for number in range(COUNT):
        with Image.open(sources[number % len(sources)]) as source:
            shift = number // len(sources)
            box = (shift, shift, source.width - shift, source.height - shift)
            picture = source.resize((side_px, side_px), Image.Resampling.BICUBIC, box)
        names.append(str(folder / f"{number:04}.{form.lower()}"))
        picture.save(names[-1], form, quality=quality)
    return names


def pillow(name: str) -> torch.Tensor:
    """One file decoded by plain Pillow: uint8 (3, 384, 384)."""
    with Image.open(io.BytesIO(Path(name).read_bytes())) as image:
        small = image.convert("RGB").resize((384, 384), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)


def ours(side_px: int) -> Callable[[str], None]:
    """A function that decodes one file as the loader does."""
    pixels = torch.empty(side_px, side_px, 3, dtype=torch.uint8)
    return lambda name: decode_into(pixels, name)


def per_second(work: Callable[[str], object], names: list[str]) -> tuple[float, float]:
    """Images per second of one thread, by CPU and by wall time; the best of ROUNDS."""
    cpu, wall = [], []
    for _ in range(ROUNDS):
        started = time.thread_time(), time.perf_counter()
        for name in names:
            work(name)
        cpu.append(time.thread_time() - started[0])
        wall.append(time.perf_counter() - started[1])
    return len(names) / min(cpu), len(names) / min(wall)


def loaded(inputs: str, side_px: int) -> str:
    """Images per second of the loader on all cores, reading `inputs`."""
    pictures = split_images(
        read_records([inputs]), label="style_id", holdout=0, split_key=None, seed=0
    ).training
    sampler = GroupSampler(pictures.styles, groups_per_batch=BATCH // 4, k=4, seed=0)
    steps = min(STEPS, sampler.steps_per_epoch)
    rates = []
    for _ in range(ROUNDS):
        loader = ImageLoader(pictures, sampler, side_px=side_px, rank=0, world=1)
        started = time.process_time(), time.perf_counter()
        count = sum(len(batch.pixels) for batch in loader.batches(0, steps))
        cpu, wall = time.process_time() - started[0], time.perf_counter() - started[1]
        loader.close()
        rates.append((count / wall, count / cpu))
    wall, cpu = map(max, zip(*rates, strict=True))
    return f"{wall:7.0f} images/s on {usable_cores()} cores, {cpu:5.0f} a CPU second"


def packed(folder: Path, names: list[str]) -> str:
    """A folder of shards with the images of `names`, repeated to fill all batches."""
    records: list[Record] = [
        {"id": f"{n}", "file_name": names[n % len(names)], "style_id": f"{n // 8}"}
        for n in range(STEPS * BATCH)
    ]
    bad = [found for found in pack(records, folder, label="style_id") if isinstance(found, Failure)]
    assert not bad, bad[0].message
    return str(folder)


def main() -> None:
    """Prints images per second by format, and of the loader from packed shards."""
    out = sys.stdout.write
    torch.set_num_threads(1)
    versions = " ".join(f"{name} {version(name)}" for name in ("pillow", "simplejpeg", "torch"))
    out(f"Python {platform.python_version()} {versions}; images a CPU second (a wall second)\n")
    with tempfile.TemporaryDirectory() as scratch:
        for kind, (side_px, form, quality) in KINDS.items():
            names = make_pictures(Path(scratch, kind), side_px, form, quality)
            plain = per_second(pillow, names)
            cells = [f"{kind:17s} Pillow to 384 {plain[0]:5.0f} ({plain[1]:.0f})"]
            for wanted in (384, 448):
                fast = per_second(ours(wanted), names)
                cells.append(f"ours to {wanted} {fast[0]:5.0f} ({fast[1]:.0f})")
            out(" | ".join(cells) + "\n")
        shards = packed(
            Path(scratch, "shards"), make_pictures(Path(scratch, "x"), 1024, "JPEG", 92)
        )
        out(f"loader, shards, 448 px: {loaded(shards, 448)}\n")


if __name__ == "__main__":
    main()
