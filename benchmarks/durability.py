"""What it costs that pictures are on disk before their lines are written.

Run: python benchmarks/durability.py [FOLDER]
The same records of 512 px are written in turn with and without syncing, in batches of 8, to a new
folder in FOLDER (default: the system's folder for temporary files): painted by the builtin painter,
and only encoded and saved, which no command does. Each figure is the best of ROUNDS.
"""

import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from unittest.mock import patch

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.transfer import drawn
from megastyle_cli.core.record import Record, Run
from megastyle_cli.core.shard import Shard
from megastyle_cli.io.output_paths import output_paths
from megastyle_cli.io.writers.image_dataset import ImageFormat
from megastyle_cli.io.writers.sink import Sink, resumable_sink
from megastyle_cli.models.builtin.magenta_painter import MagentaPainter
from megastyle_cli.models.protocols import PictureRequest

SIDE_PX, BATCH, ROUNDS = 512, 8, 5
COUNTS = {"painted": 32, "only saved": 64}


def images(count: int, painter: MagentaPainter | None) -> Iterator[Image.Image]:
    """Images to save, of some twelve contents in one style."""
    contents = [drawn(SIDE_PX, SIDE_PX, seed) for seed in range(12)]
    style = drawn(400, 300, 99)
    for n in range(count):
        content = contents[n % len(contents)]
        if painter is None:
            yield content
        else:
            request = PictureRequest(
                content_picture=content, references=(style,), reference_keys=("s",), weights=(1.0,)
            )
            yield from painter.restyle([request])


def write(sink: Sink, made: Iterator[Image.Image]) -> None:
    """Saves the images with a line each, BATCH at a time, as a map job does."""
    batch: list[Record] = []
    for n, image in enumerate(made):
        batch.append({"id": str(n), "file_name": sink.save_image(str(n), image)})
        if len(batch) == BATCH:
            for record in batch:
                sink.write(record)
            sink.flush()
            batch = []
    sink.commit()


def seconds(folder: Path, count: int, painter: MagentaPainter | None) -> float:
    """Wall-clock seconds of one output of `count` images."""
    start = time.perf_counter()
    paths = output_paths(str(folder), Shard(), folder=True)
    flags = {"resume": False, "overwrite": False, "force": False}
    with resumable_sink(paths, Run("synth"), layout=ImageFormat(), **flags) as sink:
        write(sink, images(count, painter))
    return time.perf_counter() - start


def main() -> None:
    where = sys.argv[1] if len(sys.argv) > 1 else None
    packages = " ".join(f"{name} {version(name)}" for name in ("onnxruntime", "pillow"))
    sys.stdout.write(f"Python {platform.python_version()} {packages}, {os.cpu_count()} cores\n")
    for name, painter in (("painted", MagentaPainter()), ("only saved", None)):
        count, best = COUNTS[name], {True: float("inf"), False: float("inf")}
        for n in range(2 * ROUNDS):
            is_synced = n % 2 == 0
            with tempfile.TemporaryDirectory(dir=where) as folder:
                if is_synced:
                    took = seconds(Path(folder, "out"), count, painter)
                else:
                    with patch("os.fsync"):
                        took = seconds(Path(folder, "out"), count, painter)
            best[is_synced] = min(best[is_synced], took)
        synced, unsynced = count / best[True], count / best[False]
        sys.stdout.write(
            f"{name}: {synced:.2f} images/s synced, {unsynced:.2f} not,"
            f" {100 * (unsynced / synced - 1):.1f} % more time\n"
        )


if __name__ == "__main__":
    main()
