"""Seconds of `dedup` and `cluster` on drawn prompts, without and with a cache of machine code.

    python benchmarks/cold_start.py [--sizes 14 1000 100000]

Each size runs twice with a cache folder of its own that is empty at first: cold, then warm.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = {"dedup": ["--no-semantic"], "cluster": ["--levels", "8"]}


def write_prompts(path: Path, count: int) -> None:
    """Prompts of 30 words from a thousand; every fifth repeats an earlier one but for a word."""
    rng = random.Random(0)
    words = [f"{rng.choice('bdfgklmnprst')}{rng.choice('aeiou')}{n:x}" for n in range(1000)]
    made: list[list[str]] = []
    with path.open("w") as file:
        for row in range(count):
            prompt = rng.choices(words, k=30)
            if made and row % 5 == 0:
                prompt = [*rng.choice(made)]
                prompt[rng.randrange(30)] = rng.choice(words)
            made.append(prompt)
            file.write(json.dumps({"id": str(row), "style": " ".join(prompt)}) + "\n")


def seconds(command: list[str], folder: Path, cache: Path) -> tuple[float, float]:
    """Wall-clock and CPU seconds of one run."""
    line = [sys.executable, "-m", "megastyle_cli", *command, "-q", "--overwrite", "-o", "out.jsonl"]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    subprocess.run(line, cwd=folder, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu


def main() -> None:
    """Prints a row for each command and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[14, 1000, 100_000])
    parser.add_argument("--commands", nargs="+", default=list(COMMANDS), choices=COMMANDS)
    options = parser.parse_args()
    out = sys.stdout.write
    out("| command | records | cold s (CPU) | warm s (CPU) |\n| --- | --- | --- | --- |\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for size in options.sizes:
            write_prompts(folder / "in.jsonl", size)
            for name in options.commands:
                cache = folder / f"cache-{name}-{size}"
                command = [name, "in.jsonl", *COMMANDS[name]]
                cold, warm = (seconds(command, folder, cache) for _ in range(2))
                took = " | ".join(f"{wall:.2f} ({cpu:.2f})" for wall, cpu in (cold, warm))
                out(f"| {name} | {size:,} | {took} |\n")


if __name__ == "__main__":
    main()
