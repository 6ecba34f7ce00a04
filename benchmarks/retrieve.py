"""What does `retrieve` cost beyond FAISS itself, over a saved index of a million vectors?

Bare FAISS is `IndexFlatIP` over the same rows in memory, and `knn` over the memory-mapped rows,
with its defaults; ours is exact search over the mapped rows. All in one run, in turn. Also
measured: opening the index, and IVF over its first rows with its recall. The rows are in loose
groups of fifty.

Then one query as a whole process on one core, start-up included, beside NumPy on the mapped file
and, with --peers PYTHON, beside `IndexFlatIP` read from a file. That index is of the built-in
encoder's width; the peers neither open a picture nor know names.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from PIL import Image

from megastyle_cli.models.protocols import StyleEncoder
from megastyle_cli.models.registry import load
from megastyle_cli.retrieval.ann import IvfSearcher, build_ivf, recall
from megastyle_cli.retrieval.index_file import read_index
from megastyle_cli.retrieval.index_writer import IndexWriter, encode_row
from megastyle_cli.retrieval.nearest import ExactSearcher
from megastyle_cli.retrieval.style_index import StyleIndex

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.pair import bytecode_kept

WIDTH, K, GROUP, BLOCK = 768, 10, 50, 50_000
BATCHES = (1, 32, 256)
ROUNDS = 5  # the median of them counts


NUMPY = """
import json, numpy as np, sys
header = json.load(open(sys.argv[1] + "/index.json"))
shape = header["count"], header["width"]
rows = np.memmap(sys.argv[1] + "/vectors.f32", "<f4", mode="r", shape=shape)
scores = rows @ np.asarray(rows[7])
best = np.argpartition(-scores, 10)[:10]
print(best[np.argsort(-scores[best])])
"""
FAISS = """
import faiss, sys
index = faiss.read_index(sys.argv[1] + "/flat.faiss", faiss.IO_FLAG_MMAP)
print(index.search(index.reconstruct(7)[None], 10)[1])
"""


class DrawnEncoder:
    """An encoder whose vectors are never needed but for the probe."""

    name = "drawn"

    def embed(self, pictures: Sequence[Any]) -> Any:
        return np.eye(1, WIDTH, dtype=np.float32).repeat(len(pictures), axis=0)


def write_index(folder: Path, count: int, encoder: StyleEncoder) -> float:
    """Saves an index of `count` rows; the seconds it took."""
    rng = np.random.default_rng(0)
    writer = IndexWriter(folder)
    writer.open()
    writer.set_encoder(encoder, {})
    assert writer.header is not None
    width = writer.header.width
    styles = rng.standard_normal((max(1, count // GROUP), width), dtype=np.float32)
    started = time.perf_counter()
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        rows = styles[np.arange(start, start + size) // GROUP % len(styles)]
        rows += 0.7 * rng.standard_normal((size, width), dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        for number, row in enumerate(rows, start):
            name = f"{number:016x}"
            row_of = {"id": name, "file_name": f"{name}.jpg", "picture_id": name, "vector": row}
            writer.write(encode_row(row_of))
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


def process_s(*command: object) -> tuple[float, float]:
    """CPU seconds and peak GB of a process on one core; the least of ROUNDS warm ones."""
    found = []
    for _ in range(ROUNDS + 1):
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.DEVNULL,
            env=bytecode_kept(),
            preexec_fn=lambda: os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}),
        )
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{command[0]} ended with {status}")
        found.append((used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6))
    return min(found[1:])


def whole_processes(folder: Path, count: int, peers: str | None) -> None:
    """Prints the CPU time of one query as a process of its own."""
    encoder = load("style_encoder", "builtin")
    write_index(folder, count, encoder)
    picture = folder.parent / "query.png"
    Image.linear_gradient("L").convert("RGB").save(picture)
    ours = (sys.executable, "-m", "megastyle_cli", "retrieve", picture, "--index", folder, "-q")
    commands: dict[str, tuple[object, ...]] = {
        "retrieve": ours,
        "NumPy, mapped": (sys.executable, "-c", NUMPY, folder),
    }
    if peers:
        rows = read_index(folder).vectors
        flat = faiss.IndexFlatIP(rows.shape[1])
        flat.add(np.ascontiguousarray(rows))
        faiss.write_index(flat, str(folder / "flat.faiss"))
        commands["FAISS, flat"] = (peers, "-c", FAISS, folder)
    base = 0.0
    for name, command in commands.items():
        cpu_s, peak = process_s(*command)
        base = base or cpu_s
        sys.stdout.write(
            f"one query of {count:,}: {name:14} {cpu_s:.2f} s CPU, {peak:.2f} GB,"
            f" retrieve takes {base / cpu_s:.2f} of it\n"
        )


def main() -> None:
    """Prints latency beside bare FAISS by batch, then recall and latency of IVF."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--approximate-count", type=int, default=100_000)
    parser.add_argument("--peers", metavar="PYTHON", help="A Python that has faiss-cpu.")
    parser.add_argument("--only-processes", action="store_true", help="One query as a process.")
    options = parser.parse_args()
    out = sys.stdout.write
    out(f"Python {platform.python_version()}, faiss {version('faiss-cpu')}, {os.cpu_count()} cores")
    out(f", {faiss.omp_get_max_threads()} threads, {options.count:,} x {WIDTH}, k {K}\n")
    with tempfile.TemporaryDirectory() as scratch:
        for count in (options.count // 10, options.count):
            whole_processes(Path(scratch, f"{count}"), count, options.peers)
        if options.only_processes:
            return
        took_s = write_index(Path(scratch, "x"), options.count, DrawnEncoder())
        out(f"writing the index        {took_s:8.1f} s\n")
        started = time.perf_counter()
        saved = read_index(Path(scratch, "x"))
        index = StyleIndex(
            vectors=saved.vectors,
            ids=saved.ids,
            file_names=saved.file_names,
            model="drawn",
            lookup=saved.lookup,
        )
        known = f"{index.fingerprint}, {len(index.rows_of('0')):,} rows"  # as in every run
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
