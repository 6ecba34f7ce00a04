"""How fast, lean and right is `dedup` (exact and near) beside rensa's verified deduplicator?

    python benchmarks/dedup.py GALLERY.jsonl

GALLERY holds records with `id`, `style`, `dup_of` (the id of the original, or null) and `dup_kind`
(none, exact, near_..., para...): prompts with known duplicates. Peers are installed into an
environment of their own (--peers). Each is measured in a process of its own, one after the other in
one run, from JSON lines to JSON lines with start-up; "alone" leaves out start-up and writing, and
for rensa reading too. Recall is the share of near copies that end with the same kept record as
their original; precision that of removed records whose kept record is of the same family.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import venv
from importlib.metadata import version
from pathlib import Path

import orjson

RENSA = """
import resource, sys, time
import orjson
from rensa import RMinHash, RMinHashDeduplicator
lines = open(sys.argv[1], "rb").readlines()
texts = [orjson.loads(line)["style"] for line in lines]
started = time.perf_counter()
index = RMinHashDeduplicator(0.7, 128, True, 16)
kept = []
for row, text in enumerate(texts):
    made = RMinHash(128, 42)
    made.update(text.lower().split())
    if index.add(str(row), made):
        kept.append(row)
ended = time.perf_counter()
with open(sys.argv[2], "wb") as out:
    out.writelines(lines[row] for row in kept)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = {"calls": ended - started, "kept": len(kept), "peak_gb": peak / 2**20}
print(orjson.dumps(found).decode())
"""


def rensa(gallery: Path, folder: Path, peers: Path) -> dict[str, float]:
    """Seconds from lines to lines and of its calls alone, peak memory and what it kept."""
    python = peers / "bin" / "python"
    if not python.exists():
        venv.create(peers, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "rensa", "orjson"], check=True)
    begun = time.perf_counter()
    ended = subprocess.run(
        [python, "-c", RENSA, str(gallery), str(folder / "rensa.jsonl")],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, **json.loads(ended.stdout)}


def ours(gallery: Path, folder: Path, flags: list[str]) -> dict[str, float]:
    """Seconds of the whole command, peak memory, and seconds of exact and near."""
    stats = folder / "stats.json"
    command = [sys.executable, "-m", "megastyle_cli", "dedup", str(gallery), "--no-semantic", "-q"]
    command += ["-o", str(folder / "kept.jsonl"), "--stats", str(stats), "--overwrite", *flags]
    started = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - started
    told = json.loads(stats.read_text())
    return {
        "seconds": seconds,
        "calls": told["exact"]["seconds"] + told["near"]["seconds"],
        "peak_gb": told["peak_bytes"] / 2**30,
        "kept": told["out"],
    }


def quality(gallery: Path, rejected: Path) -> dict[str, float]:
    """Recall by kind of copy, and precision."""
    kinds: dict[str, str] = {}
    families: dict[str, str] = {}
    with gallery.open("rb") as lines:
        for row in map(orjson.loads, lines):
            name = str(row["id"])
            kinds[name] = row["dup_kind"]
            families[name] = name if row["dup_of"] is None else str(row["dup_of"])
    keeper = {}
    with rejected.open("rb") as lines:
        for row in map(orjson.loads, lines):
            keeper[row["id"]] = row["_megastyle"]["dedup"]["duplicate_of"]
    told = {}
    for kind in sorted(set(kinds.values()) - {"none"}):
        names = [name for name, its in kinds.items() if its == kind]
        met = (
            keeper.get(name, name) == keeper.get(families[name], families[name]) for name in names
        )
        told[f"recall_{kind}"] = sum(met) / len(names)
    good = sum(families[name] == families[its] for name, its in keeper.items())
    return {**told, "precision": good / max(1, len(keeper))}


def main() -> None:
    """Prints a line for each: records a second, peak memory, what was kept; then our quality."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gallery", type=Path)
    parser.add_argument("--peers", type=Path, default=Path(tempfile.gettempdir(), "dedup-peers"))
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with options.gallery.open("rb") as file:
        count = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    out = sys.stdout.write
    out(f"Python {platform.python_version()}, numba {version('numba')}, {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for _ in range(options.rounds):
            found = {"ours": ours(options.gallery, folder, [])}
            if not options.no_peers:
                found["rensa"] = rensa(options.gallery, folder, options.peers)
            for name, told in found.items():
                out(
                    f"{name}: {count / told['seconds'] / 1e3:.1f} K records/s"
                    f" ({count / told['calls'] / 1e3:.1f} K/s alone),"
                    f" {told['peak_gb']:.2f} GB, {told['kept']:,.0f} kept\n"
                )
        gone = folder / "gone.jsonl"
        ours(options.gallery, folder, ["--rejected", str(gone)])
        for name, share in quality(options.gallery, gone).items():
            out(f"{name} {share:.6f}\n")


if __name__ == "__main__":
    main()
