"""Initialization of k-means: the first centroids, and the cells that centroids are indexed by."""

# n points, d width, k clusters, m points of one block

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.cluster.points import Vectors, row_blocks, take_rows

Array = npt.NDArray[Any]

CELLS = 3  # number of cells, times the square root of the number of clusters
CELL_ITERATIONS = 6
FEW_CLUSTERS = 256


def initial_means(vectors: Vectors, count: int, rng: np.random.Generator) -> Array:
    """At most `count` distinct points (k, d): equal centroids would share their points.

    Drawn at random; up to FEW_CLUSTERS of them by k-means++.
    """
    means = _draw_points(vectors, count, rng)
    # sorted in place: np.unique holds three copies of what can be a twentieth of the points
    means.view([("", means.dtype)] * means.shape[1]).sort(axis=0)
    is_new = np.ones(len(means), bool)
    for rows in row_blocks(len(means) - 1):
        is_new[rows + 1] = (means[rows + 1] != means[rows]).any(axis=1)
    distinct: Array = means if is_new.all() else means[is_new]
    return distinct


def train_cells(means: Array, rng: np.random.Generator) -> Array:
    """Centroids (cells, d) of at most 3 sqrt(k) cells of `means` (k, d), by Lloyd's iterations."""
    count = min(len(means), round(CELLS * len(means) ** 0.5))
    cells: Array = means[np.sort(rng.choice(len(means), count, replace=False))]
    for _ in range(CELL_ITERATIONS):
        labels = nearest_cells(means, cells)
        order = np.argsort(labels, kind="stable")
        starts = np.unique(labels[order], return_index=True)[1].tolist()
        edges = pairwise([*starts, len(means)])
        cells = np.stack([means[order[start:stop]].mean(axis=0) for start, stop in edges])
    return cells


def nearest_cells(means: Array, cells: Array, which: Array | None = None) -> Array:
    """The nearest of `cells` to each of `means` (k, d), or to those at the rows `which`."""
    rows = np.arange(len(means)) if which is None else which
    nearest = [
        proximity(means[rows[block]], cells).argmax(axis=1) for block in row_blocks(len(rows))
    ]
    return np.concatenate([np.zeros(0, np.int64), *nearest])


def proximity(points: Array, means: Array) -> Array:
    """Inner product minus half the squared length of the mean, (m, k): the largest is nearest."""
    scores: Array = points @ means.T
    scores -= half_squares(means)  # in place: these are the largest arrays
    return scores


def half_squares(means: Array) -> Array:
    """Half the squared length (k,) of each of `means` (k, d)."""
    lengths: Array = np.einsum("kd,kd->k", means, means) / 2
    return lengths


def _draw_points(vectors: Vectors, count: int, rng: np.random.Generator) -> Array:
    """min(n, count) points.

    Source for few clusters: k-means++ (Arthur & Vassilvitskii 2007), the best of several trials.
    """
    n = vectors.shape[0]
    if count > FEW_CLUSTERS or count >= n:
        return take_rows(vectors, np.sort(rng.choice(n, min(n, count), replace=False)))
    sample = np.sort(rng.choice(n, min(n, max(1024, 64 * count)), replace=False))
    points = take_rows(vectors, sample)
    trials = 2 + int(np.log(count))
    drawn = [int(rng.integers(len(points)))]
    distances = _squared_distances(points, points[drawn])[:, 0]  # to the nearest point drawn
    while len(drawn) < count:
        steps = np.cumsum(distances, dtype=np.float64)
        tried = np.searchsorted(steps, rng.random(trials) * steps[-1])
        tried = np.minimum(tried, len(points) - 1)
        left = np.minimum(_squared_distances(points, points[tried]), distances[:, None])
        best = int(left.sum(axis=0, dtype=np.float64).argmin())  # left: (m, trials)
        drawn.append(int(tried[best]))
        distances = left[:, best]
    means: Array = points[drawn]
    return means


def _squared_distances(points: Array, others: Array) -> Array:
    """Squared distances (n, m), never below 0."""
    lengths: Array = np.einsum("nd,nd->n", points, points)
    distances: Array = np.maximum(lengths[:, None] - 2 * proximity(points, others), 0)
    return distances
