"""kmeans: the assignment of points to centroids, which `cluster` runs on a GPU."""

from collections.abc import Iterator

import numpy as np

from benchmarks.gpu.machine import DEVICE, HAS_GPU, Row, measured, median_s, peak
from megastyle_cli.models.kmeans_gpu import TorchAssigner

# points of a block, centroids, width: the paper's finest level on mpnet vectors
SIZES = [(262_144, 50_000, 768), (262_144, 10_000, 768)] if HAS_GPU else [(512, 64, 32)]


def rows() -> Iterator[Row]:
    """Points a second, and the share whose centroid is that of an exhaustive float64 search."""
    for m, k, d in SIZES:
        yield measured({"points": m, "centroids": k, "width": d}, lambda: _assign(m, k, d))  # noqa: B023


def _assign(m: int, k: int, d: int) -> Row:
    rng = np.random.default_rng(0)
    means, points = (_unit_rows(rng, number, d) for number in (k, m))
    halves = (means**2).sum(axis=1) / 2
    ones = np.ones(k, np.float32)
    assigner = TorchAssigner(str(DEVICE))
    centroids = assigner.upload(means, halves, ones, ones)
    own = rng.integers(0, k, m)
    labels, _ = assigner.assign(points, own, centroids)
    checked = slice(0, 256)
    exact = (points[checked].astype(np.float64) @ means.T.astype(np.float64) - halves).argmax(
        axis=1
    )
    seconds = median_s(lambda: assigner.assign(points, own, centroids), 3)
    return {
        "points/s": round(m / seconds),
        "TFLOP/s": 2 * m * k * d / seconds / 1e12,
        "exact": f"{float((labels[checked] == exact).mean()):.1%}",
        **peak(),
    }


def _unit_rows(
    rng: np.random.Generator, number: int, width: int
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    drawn = rng.standard_normal((number, width), np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
