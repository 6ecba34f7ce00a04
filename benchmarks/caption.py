"""How many pictures a second does the builtin captioner describe, from 1024 px JPEG, as a command?

Beside it, in the same run: Pillow decoding the same files in full on all cores, which is what a
captioner that measured nothing would need.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from PIL import Image

PICTURES = Path(__file__).parents[1] / "examples" / "pictures" / "contents"
COUNT = 960


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
    """What plain Pillow does with one file."""
    with Image.open(path) as image:
        image.convert("RGB").load()


def children_cpu_s() -> float:
    """CPU seconds of all child processes so far: on a busy machine steadier than the clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Prints images a second of the command (start-up and model load included) and of decoding."""
    out = sys.stdout.write
    out(f"Python {platform.python_version()}, Pillow {version('pillow')}, {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "imgs")
        folder.mkdir()
        paths = make_pictures(folder)
        started = time.perf_counter()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(decode_fully, paths))
        plain = COUNT / (time.perf_counter() - started)
        out(f"plain Pillow decoding     {plain:6.1f} images/s\n")
        for kind in ("style", "content", "both"):
            stats = Path(scratch, f"{kind}.json")
            command = f"caption {folder} --kind {kind} -q -o {scratch}/{kind}.jsonl --stats {stats}"
            before = children_cpu_s()
            subprocess.run([sys.executable, "-m", "megastyle_cli", *command.split()], check=True)
            core_ms = 1000 * (children_cpu_s() - before) / COUNT
            rate = json.loads(stats.read_text())["rate"]
            out(f"caption --kind {kind:10s} {rate:6.1f} images/s  {core_ms:5.1f} core-ms each\n")


if __name__ == "__main__":
    main()
