"""Runs one part: python -m benchmarks.gpu PART; see benchmarks/gpu.sh."""

import argparse
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
# part -> module, its function, and what it shows
PARTS = {
    "kmeans": ("kmeans", "rows", "the assignment of cluster --device cuda"),
    "scoring": ("towers", "scoring_rows", "the encoder of eval and retrieve; wanted: 700 images/s"),
    "agreement": ("agreement", "rows", "style vectors in bfloat16 against float32"),
    "encoder": ("towers", "encoder_rows", "steps of train-encoder; wanted: 215 direct, 160 cached"),
    "memory": ("memory", "rows", "memory plans against measured peaks"),
    "transfer": ("flux", "transfer_rows", "images of transfer; wanted: 2.2 s"),
    "flux": (
        "flux",
        "flux_rows",
        "steps of train-flux; wanted: 4.5 samples/s, 2.2 x the first row",
    ),
    "synth": ("synth", "rows", "images of synth --model Qwen/Qwen-Image"),
}


def main() -> int:
    """Prints the table of a part and, on a GPU, appends it to RESULTS.md."""
    shown = "; ".join(f"{part}: {what}" for part, (_, _, what) in PARTS.items())
    parser = argparse.ArgumentParser(description=__doc__, epilog=shown)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--results", type=Path, default=RESULTS, help="file that rows are added to")
    args = parser.parse_args()
    module, function, what = PARTS[args.part]
    sys.path.insert(0, str(ROOT))
    try:
        from benchmarks.gpu.machine import HAS_GPU, facts, table

        measure = getattr(import_module(f"benchmarks.gpu.{module}"), function)
    except ModuleNotFoundError as missing:
        sys.stderr.write(f"{args.part}: this Python has no package {missing.name}\n")
        return 2
    if not HAS_GPU:
        sys.stderr.write(f"{args.part}: no GPU here: a tiny version, whose figures mean nothing\n")
    rows = []
    for row in measure():
        rows.append(row)
        sys.stderr.write(f"{args.part}: {row}\n")  # kept if a later row crashes
    text = f"### {args.part}: {what}\n{facts()} `benchmarks/gpu.sh {args.part}`\n\n{table(rows)}\n"
    sys.stdout.write(text)
    if HAS_GPU:
        with args.results.open("a", encoding="utf-8") as results:
            results.write(f"\n{text}")
    return 1 if all("failed" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
