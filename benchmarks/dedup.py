"""Speed, memory and quality of `dedup` (exact and near) compared with rensa's RMinHashDeduplicator.

    python benchmarks/dedup.py GALLERY.jsonl

GALLERY holds prompts with known duplicates: records with `id`, `style`, `dup_of` (the id of the
original, or null) and `dup_kind` (none, exact, near_..., para...). rensa is installed into a
separate environment (--peers). Both run in a process of their own, one after the other, from JSON
lines to JSON lines including start-up; "alone" excludes start-up and writing, and for rensa
reading too. Recall is the share of near copies for which the same record is kept as for their
original; precision is the share of removed records whose kept record is of the same family.
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
    """Wall-clock seconds of the process and of rensa's calls, peak memory, records kept."""
    python = peers / "bin" / "python"
    if not python.exists():
        venv.create(peers, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "rensa", "orjson"], check=True)
    started = time.perf_counter()
    done = subprocess.run(
        [python, "-c", RENSA, str(gallery), str(folder / "rensa.jsonl")],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - started
    return {"seconds": seconds, **json.loads(done.stdout)}


def ours(gallery: Path, folder: Path, flags: list[str]) -> dict[str, float]:
    """Wall-clock seconds of the command and of its two stages, peak memory, records kept."""
    stats = folder / "stats.json"
    command = [sys.executable, "-m", "megastyle_cli", "dedup", str(gallery), "--no-semantic", "-q"]
    command += ["-o", str(folder / "kept.jsonl"), "--stats", str(stats), "--overwrite", *flags]
    started = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - started
    counted = json.loads(stats.read_text())
    return {
        "seconds": seconds,
        "calls": counted["exact"]["seconds"] + counted["near"]["seconds"],
        "peak_gb": counted["peak_bytes"] / 2**30,
        "kept": counted["out"],
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
    found = {}
    for kind in sorted(set(kinds.values()) - {"none"}):
        names = [name for name, other in kinds.items() if other == kind]
        is_found = (
            keeper.get(name, name) == keeper.get(families[name], families[name]) for name in names
        )
        found[f"recall_{kind}"] = sum(is_found) / len(names)
    good = sum(families[name] == families[kept] for name, kept in keeper.items())
    return {**found, "precision": good / max(1, len(keeper))}


def main() -> None:
    """Prints speed, peak memory and records kept of each, then the quality of `dedup`."""
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
            for name, measured in found.items():
                out(
                    f"{name}: {count / measured['seconds'] / 1e3:.1f} K records/s"
                    f" ({count / measured['calls'] / 1e3:.1f} K/s alone),"
                    f" {measured['peak_gb']:.2f} GB, {measured['kept']:,.0f} kept\n"
                )
        dropped = folder / "dropped.jsonl"
        ours(options.gallery, folder, ["--rejected", str(dropped)])
        for name, share in quality(options.gallery, dropped).items():
            out(f"{name} {share:.6f}\n")


if __name__ == "__main__":
    main()
