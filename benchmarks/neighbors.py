"""Time and recall of the IVF search for close pairs of prompts, compared with all pairs.

    python benchmarks/neighbors.py GALLERY.jsonl [--count N] [--threshold COS] [--exact]

Uses the static embeddings of the distinct `style` texts. --exact compares all pairs too.
"""

import argparse
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from megastyle_cli.compute.engine import LocalEngine
from megastyle_cli.dedup.ivf_search import SearchRecall, search_neighbors
from megastyle_cli.dedup.pairwise import exact_neighbors
from megastyle_cli.io.inputs import read_records
from megastyle_cli.io.temporary_files import scratch_array
from megastyle_cli.models.builtin.text_embedder import StaticEmbedder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gallery", type=Path)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--threshold", type=float, default=0.99)
    parser.add_argument("--exact", action="store_true")
    options = parser.parse_args()
    texts: dict[str, None] = {}
    for record in read_records([str(options.gallery)]):
        texts[record["style"]] = None  # type: ignore[index]
        if len(texts) == options.count:
            break
    listed, embedder = list(texts), StaticEmbedder()
    vectors = scratch_array(len(listed), 256)
    for low in range(0, len(listed), 4096):
        vectors[low : low + 4096] = embedder.embed(listed[low : low + 4096])
    found = measured("cells", vectors, options.threshold, 0.99)
    if options.exact:
        true = measured("all pairs", vectors, options.threshold, 1.0)
        sys.stdout.write(
            f"true recall {len(found & true) / max(1, len(true)):.5f}, wrong {len(found - true)}\n"
        )


def measured(name: str, vectors: Any, threshold: float, recall: float) -> set[tuple[int, int]]:
    """The pairs found; prints the time and memory of the search."""
    started, cpu = time.perf_counter(), time.process_time()
    with LocalEngine() as engine:
        if recall < 1:
            pairs, how = search_neighbors(vectors, 0, threshold, recall, engine)
        else:
            rows = np.arange(len(vectors))
            pairs, how = exact_neighbors(vectors, rows, threshold, engine), SearchRecall()
    sys.stdout.write(
        f"{name}: {len(vectors):,} texts at {threshold}: {len(pairs.one):,} pairs,"
        f" {time.perf_counter() - started:.1f} s, {time.process_time() - cpu:.1f} CPU s,"
        f" peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB; {how}\n"
    )
    return set(zip(np.asarray(pairs.one).tolist(), pairs.two.tolist(), strict=True))


if __name__ == "__main__":
    main()
