"""Time and memory of `pair` for 170,000 styles and 400,000 contents, 8 contents per style.

Writes both galleries with records like those of the preceding commands, then runs the command in
a process of its own. Prints wall-clock seconds including start-up, CPU seconds and peak memory.
"""

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STYLE_WORDS = [
    "teal",
    "ochre",
    "amber",
    "impasto",
    "gouache",
    "woodblock",
    "hatched",
    "glazed",
    "grainy",
    "backlit",
    "muted",
]
CONTENT_WORDS = [
    "fishing",
    "vessel",
    "rough",
    "seas",
    "birds",
    "man",
    "vertical",
    "smartphone",
    "frog",
    "leaf",
    "tree",
    "field",
]


def write_galleries(folder: Path, num_styles: int, num_contents: int) -> None:
    """styles.jsonl with prompts of 32 words, contents.jsonl with prompts of six."""
    rng = random.Random(0)
    for name, key, count, words, length in (
        ("styles", "style", num_styles, STYLE_WORDS, 32),
        ("contents", "content", num_contents, CONTENT_WORDS, 6),
    ):
        with (folder / f"{name}.jsonl").open("w") as file:
            for number in range(count):
                record = {
                    "id": f"{rng.getrandbits(64):016x}",
                    "file_name": f"{name}/{number:06}.jpg",
                    "license": "cc0",
                    key: " ".join(rng.choices(words, k=length)),
                    **({"style_colors": "teal", "style_medium": "gouache"} if length > 6 else {}),
                    "cluster": rng.randrange(5000),
                    "_megastyle": {"caption": {"model": "builtin", "run": "8f3c2a1d"}},
                }
                file.write(json.dumps(record, separators=(",", ":")) + "\n")


def main() -> None:
    """Prints seconds, CPU and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--styles", type=int, default=170_000)
    parser.add_argument("--contents", type=int, default=400_000)
    parser.add_argument("options", nargs="*", help="Options of pair, after --.")
    options = parser.parse_args()
    out = sys.stdout.write
    out(f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_galleries(folder, options.styles, options.contents)
        started = time.perf_counter()
        subprocess.run(
            [
                *(sys.executable, "-m", "megastyle_cli", "pair", str(folder / "styles.jsonl")),
                *("--contents", str(folder / "contents.jsonl")),
                *("-o", str(folder / "pairs.jsonl"), *options.options),
            ],
            check=True,
        )
        took_s = time.perf_counter() - started
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        size = (folder / "pairs.jsonl").stat().st_size
        out(
            f"{took_s:.1f} s, {spent.ru_utime + spent.ru_stime:.1f} s CPU, peak"
            f" {spent.ru_maxrss / 1e6:.2f} GB, {size / 1e9:.2f} GB written\n"
        )


if __name__ == "__main__":
    main()
