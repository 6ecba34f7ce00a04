"""Images per second of the builtin captioner, from 1024 px JPEG, as a command.

For comparison, in the same run: Pillow decodes the same files in full on all cores, which is the
least that a captioner has to do.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from PIL import Image

PICTURES = Path(__file__).parents[1] / "examples" / "pictures" / "contents"
COUNT = 480
ROUNDS = 3  # the best counts: other load on the machine only ever slows a run down


def make_pictures(folder: Path) -> list[Path]:
    """COUNT different JPEGs of 1024 px, cut from the example photographs."""
    sources = sorted(PICTURES.glob("*.jpg"))
    made = []
    for number in range(COUNT):
        with Image.open(sources[number % len(sources)]) as source:
            shift = number // len(sources)
            box = (shift, shift, source.width - shift, source.height - shift)
            width = 1024 if source.width >= source.height else 1024 * source.width // source.height
            height = 1024 * source.height // source.width if width == 1024 else 1024
            picture = source.resize((width, height), Image.Resampling.BICUBIC, box)
        made.append(folder / f"{number:04}.jpg")
        picture.save(made[-1], quality=90)
    return made


def decode_fully(path: Path) -> None:
    """Decodes one file with plain Pillow."""
    with Image.open(path) as image:
        image.convert("RGB").load()


def caption_s(folder: Path, kind: str, count: int) -> float:
    """Seconds the command takes for the first `count` images, start-up included."""
    flags = f"--kind {kind} --limit {count} -q --overwrite -o {folder.parent}/{kind}.jsonl"
    command = [sys.executable, "-m", "megastyle_cli", "caption", str(folder), *flags.split()]
    return best_s(lambda: subprocess.run(command, check=True))


def best_s(work: Callable[[], object]) -> float:
    """The shortest of ROUNDS runs of `work`, in seconds."""
    took = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return min(took)


def main() -> None:
    """Prints images per second of plain decoding and of the command, without and with start-up."""
    out = sys.stdout.write
    out(f"Python {platform.python_version()}, Pillow {version('pillow')}, {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "imgs")
        folder.mkdir()
        paths = make_pictures(folder)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            plain = COUNT / best_s(lambda: list(pool.map(decode_fully, paths)))
        out(f"plain Pillow decoding     {plain:6.1f} images/s\n")
        for kind in ("style", "content", "both"):
            few_s, many_s = (caption_s(folder, kind, count) for count in (COUNT // 4, COUNT))
            sustained = (COUNT - COUNT // 4) / (many_s - few_s)
            start = f"{COUNT / many_s:.1f} with start-up over {COUNT}"
            out(f"caption --kind {kind:10s} {sustained:6.1f} images/s sustained, {start}\n")


if __name__ == "__main__":
    main()
