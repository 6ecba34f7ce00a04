"""Time and objective of our k-means compared with ten full Lloyd iterations of faiss.Kmeans.

Both run on the same vectors and on all cores of this process: faiss.Kmeans without subsampling,
then ours. The objective is the mean squared distance of a point to its centroid: to the nearest of
all centroids (both), and to the assigned one (ours). The vectors are unit rows, each the sum of a
vector for each of a dozen attributes, whose values have uneven frequencies, and noise; or those of
--vectors. `--levels 50000,10000` continues with the coarser levels, each compared on the same
points; `--alone` skips faiss, whose ten iterations take hours for a million vectors.
"""

import argparse
import logging
import os
import platform
import resource
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from megastyle_cli.cluster.kmeans import kmeans
from megastyle_cli.compute.engine import LocalEngine, usable_cores
from megastyle_cli.io.npy import MappedVectors, VectorWriter

BLOCK = 20_000
ATTRIBUTES = ((300, 1.5), *[(50, 0.6)] * 3, *[(32, 0.65)] * 4, (24, 0.5), (20, 0.5), (10, 0.8))
NOISE = 0.5
ITERATIONS = 10
CHECKED = 200_000  # rows whose nearest centroid of all is computed

Array = Any


def random_vectors(count: int, width: int, seed: int) -> Any:
    """Blocks of unit rows (m, d) float32."""
    rng = np.random.default_rng(seed)
    tables = [
        (scale * rng.standard_normal((size, width))).astype(np.float32)
        for size, scale in ATTRIBUTES
    ]
    for start in range(0, count, BLOCK):
        m = min(BLOCK, count - start)
        rows = NOISE * rng.standard_normal((m, width), dtype=np.float32)
        for table in tables:
            frequency = 1 / (np.arange(len(table)) + 3)
            rows += table[rng.choice(len(table), m, p=frequency / frequency.sum())]
        yield rows / np.linalg.norm(rows, axis=1, keepdims=True)


def nearest_of_all(points: Array, centroids: Array) -> tuple[float, Array]:
    """The mean squared distance to the nearest centroid, and which it is (n,)."""
    distances, nearest = faiss.knn(points, np.ascontiguousarray(centroids), 1)
    return float(distances.mean(dtype=np.float64)), nearest[:, 0]


def main() -> None:
    """Prints seconds and objectives, level by level."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--levels", default="5000")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--alone", action="store_true")
    options = parser.parse_args()
    out = sys.stdout.write
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    cores = usable_cores()
    faiss.omp_set_num_threads(cores)
    out(
        f"Python {platform.python_version()}, numpy {version('numpy')}, faiss"
        f" {version('faiss-cpu')}, {cores} cores, load {os.getloadavg()[0]:.1f}\n"
    )
    with tempfile.TemporaryDirectory() as scratch, VectorWriter(Path(scratch, "v.npy")) as writer:
        vectors = (
            MappedVectors(options.vectors)
            if options.vectors
            else writer.write(
                options.count, random_vectors(options.count, options.width, options.seed)
            )
        )
        points: Any = vectors
        for level in map(int, options.levels.split(",")):
            n, d = points.shape
            out(f"{n:,} x {d} in {level:,} clusters\n")
            theirs_s = theirs = 0.0
            if not options.alone:
                held = np.ascontiguousarray(points[:], np.float32)
                started, worked = time.perf_counter(), time.process_time()
                full = faiss.Kmeans(
                    d,
                    level,
                    niter=ITERATIONS,
                    seed=options.seed,
                    max_points_per_centroid=n,
                    min_points_per_centroid=1,
                )
                full.train(held)
                theirs_s, theirs_cpu = time.perf_counter() - started, time.process_time() - worked
                theirs = nearest_of_all(held, full.centroids)[0]
                out(f"  faiss, {ITERATIONS} iterations {theirs_s:8.1f} s ({theirs_cpu:.1f} s CPU)")
                out(f", objective {theirs:.5f}\n")
                del held, full
            started, worked = time.perf_counter(), time.process_time()
            ours = kmeans(points, level, seed=options.seed, engine=LocalEngine())
            ours_s, ours_cpu = time.perf_counter() - started, time.process_time() - worked
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            some = np.ascontiguousarray(points[: min(n, CHECKED)], np.float32)
            nearest = nearest_of_all(some, ours.centroids)
            same = float((nearest[1] == ours.labels[: len(some)]).mean())
            out(f"  ours                  {ours_s:8.1f} s ({ours_cpu:.1f} s CPU)")
            out(f", objective {ours.objective:.5f} as assigned, {nearest[0]:.5f} to the nearest")
            out(f" ({same:.2%} are there), peak {peak / (4 * n * d):.2f} x the vectors\n")
            if theirs_s:
                out(f"  ratio {theirs_s / ours_s:.1f} ({theirs_cpu / ours_cpu:.1f} of CPU)")
                out(f", objective {ours.objective / theirs - 1:+.2%} as assigned\n")
            sys.stdout.flush()
            points = ours.centroids


if __name__ == "__main__":
    main()
