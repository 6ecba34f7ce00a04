"""What does `retrieve` cost beyond FAISS itself, over a saved index of a million vectors?

Bare FAISS is `IndexFlatIP` over the same rows in memory, and `knn` over the memory-mapped rows,
with its defaults; ours is exact search over the mapped rows. All in one run, in turn. Also
measured: opening the index, and IVF over its first rows with its recall. The rows are in loose
groups of fifty.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from megastyle_cli.retrieval.ann import IvfSearcher, build_ivf, recall
from megastyle_cli.retrieval.index_file import read_index
from megastyle_cli.retrieval.index_writer import IndexWriter, encode_row
from megastyle_cli.retrieval.nearest import ExactSearcher
from megastyle_cli.retrieval.style_index import StyleIndex

WIDTH, K, GROUP, BLOCK = 768, 10, 50, 50_000
BATCHES = (1, 32, 256)
ROUNDS = 5  # the median of them counts


class DrawnEncoder:
    """An encoder whose vectors are never needed but for the probe."""

    name = "drawn"

    def embed(self, pictures: list[Any]) -> Any:
        return np.eye(1, WIDTH, dtype=np.float32).repeat(len(pictures), axis=0)


def write_index(folder: Path, count: int) -> float:
    """Saves an index of `count` rows; the seconds it took."""
    rng = np.random.default_rng(0)
    styles = rng.standard_normal((max(1, count // GROUP), WIDTH), dtype=np.float32)
    writer = IndexWriter(folder)
    writer.open()
    writer.set_encoder(DrawnEncoder(), {})
    started = time.perf_counter()
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        rows = styles[np.arange(start, start + size) // GROUP % len(styles)]
        rows += 0.7 * rng.standard_normal((size, WIDTH), dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        for number, row in enumerate(rows, start):
            name = f"{number:016x}"
            writer.write(encode_row({"id": name, "file_name": f"{name}.jpg", "vector": row}))
        writer.flush()
    writer.commit()
    writer.close()
    return time.perf_counter() - started


def medians_s(*works: Callable[[], Any]) -> list[float]:
    """The median seconds of each, taken in turn so that all meet the same machine."""
    took: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for times, work in zip(took, works, strict=True):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
    return [float(np.median(times)) for times in took]


def main() -> None:
    """Prints latency beside bare FAISS by batch, then recall and latency of IVF."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--approximate-count", type=int, default=100_000)
    options = parser.parse_args()
    out = sys.stdout.write
    out(f"Python {platform.python_version()}, faiss {version('faiss-cpu')}, {os.cpu_count()} cores")
    out(f", {faiss.omp_get_max_threads()} threads, {options.count:,} x {WIDTH}, k {K}\n")
    with tempfile.TemporaryDirectory() as scratch:
        out(f"writing the index        {write_index(Path(scratch, 'x'), options.count):8.1f} s\n")
        started = time.perf_counter()
        saved = read_index(Path(scratch, "x"))
        index = StyleIndex(
            vectors=saved.vectors, ids=saved.ids, file_names=saved.file_names, model="drawn"
        )
        known = f"{index.fingerprint}, {len(index.rows_by_id):,} ids"  # as every run of the command
        out(f"opening and checking it  {time.perf_counter() - started:8.1f} s ({known})\n")
        bare = faiss.IndexFlatIP(WIDTH)
        for start in range(0, options.count, BLOCK):
            bare.add(np.ascontiguousarray(saved.vectors[start : start + BLOCK]))
        rng = np.random.default_rng(1)
        queries = saved.vectors[rng.integers(options.count, size=max(BATCHES))]
        queries = queries + 0.02 * rng.standard_normal(queries.shape, dtype=np.float32)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        ours = ExactSearcher(saved.vectors)
        for batch in BATCHES:
            asked = np.ascontiguousarray(queries[:batch])
            held_s, mapped_s, ours_s = medians_s(
                partial(bare.search, asked, K),
                partial(faiss.knn, asked, saved.vectors, K, faiss.METRIC_INNER_PRODUCT),
                partial(ours.search, asked, K),
            )
            out(
                f"batch of {batch:4}, ms: bare, in memory {held_s * 1e3:9.1f}, bare, mapped"
                f" {mapped_s * 1e3:9.1f}, ours {ours_s * 1e3:9.1f},"
                f" ratio {ours_s / held_s:.2f} and {ours_s / mapped_s:.2f}\n"
            )
        bare.reset()
        some = np.ascontiguousarray(saved.vectors[: options.approximate_count])
        one = np.ascontiguousarray(queries[:1])
        started = time.perf_counter()
        ivf = IvfSearcher(build_ivf(some), some)
        build_s = time.perf_counter() - started
        share, rows = recall(ivf, some, K, 1000, seed=0)
        exact = ExactSearcher(some)
        ivf_s, exact_s = medians_s(partial(ivf.search, one, K), partial(exact.search, one, K))
        out(
            f"ivf of {len(some):,}: built in {build_s:.0f} s, recall@{K} {share:.3f} on"
            f" {rows:,} rows, one query {ivf_s * 1e3:.2f} ms, exact {exact_s * 1e3:.2f} ms\n"
        )


if __name__ == "__main__":
    main()
