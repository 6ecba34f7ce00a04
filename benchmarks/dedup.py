"""How fast, lean and right is `dedup` (exact and near) beside rensa's verified deduplicator?

    python benchmarks/dedup.py GALLERY.jsonl

GALLERY holds records with `id`, `style`, `dup_of` (the id of the original, or null) and `dup_kind`
(none, exact, near_..., para...): prompts with known duplicates. Peers are installed into an
environment of their own (--peers). Each is measured in a process of its own, one after the other in
one run: rensa on texts in memory (its time is that of its calls alone), ours from JSON lines to
JSON lines. Recall is the share of near copies that end with the same kept record as their original;
precision that of removed records whose kept record is of the same family.
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
import json, resource, sys, time
from rensa import RMinHash, RMinHashDeduplicator
texts = [json.loads(line)["style"] for line in open(sys.argv[1], encoding="utf-8")]
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
index = RMinHashDeduplicator(0.7, 128, True, 16)
kept = 0
for row, text in enumerate(texts):
    made = RMinHash(128, 42)
    made.update(text.lower().split())
    kept += index.add(str(row), made)
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seconds": seconds, "peak_gb": peak / 2**20, "kept": kept}))
"""


def rensa(gallery: Path, peers: Path) -> dict[str, float]:
    """Seconds, peak memory and what it kept."""
    python = peers / "bin" / "python"
    if not python.exists():
        venv.create(peers, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "rensa"], check=True)
    ended = subprocess.run(
        [python, "-c", RENSA, str(gallery)], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(ended.stdout)
    return found


def ours(gallery: Path, folder: Path, flags: list[str]) -> dict[str, float]:
    """Seconds of the whole command, peak memory, and seconds of exact and near."""
    stats = folder / "stats.json"
    command = [sys.executable, "-m", "megastyle_cli", "dedup", str(gallery), "--no-semantic", "-q"]
    command += ["-o", str(folder / "kept.jsonl"), "--stats", str(stats), "--overwrite", *flags]
    started = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - started
    told = json.loads(stats.read_text())
    near = told.get("near", {}).get("seconds", 0.0)
    return {
        "seconds": seconds,
        "peak_gb": told["peak_bytes"] / 2**30,
        "kept": told["out"],
        "read_and_digest": told["exact"]["seconds"],
        "near": near,
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
            found = {"ours, JSON lines to JSON lines": ours(options.gallery, folder, [])}
            if not options.no_peers:
                found["rensa, texts in memory"] = rensa(options.gallery, options.peers)
            for name, told in found.items():
                inner = told.get("read_and_digest", 0.0) + told.get("near", 0.0)
                more = f", {count / inner / 1e3:.1f} K/s without writing" if inner else ""
                out(
                    f"{name}: {count / told['seconds'] / 1e3:.1f} K records/s,"
                    f" {told['peak_gb']:.2f} GB, {told['kept']:,.0f} kept{more}\n"
                )
        gone = folder / "gone.jsonl"
        ours(options.gallery, folder, ["--rejected", str(gone)])
        for name, share in quality(options.gallery, gone).items():
            out(f"{name} {share:.6f}\n")


if __name__ == "__main__":
    main()
