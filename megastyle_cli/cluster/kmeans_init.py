"""Where k-means starts: the points drawn as first centroids, and cells that centroids fall into."""

# n points, d width, k clusters, m points of one block

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.cluster.points import Vectors, row_blocks, take

Array = npt.NDArray[Any]

CELLS = 3  # cells, times the root of the number of clusters
CELL_ITERATIONS = 6
FEW_CLUSTERS = 256


def first_means(vectors: Vectors, count: int, rng: np.random.Generator) -> Array:
    """At most `count` of n points that differ, (k, d): equal ones would share their points.

    They are drawn at random, or, if they are few, far from each other.
    """
    means = _drawn(vectors, count, rng)
    # in place and not np.unique, which holds three copies of what is a twentieth of the points
    means.view([("", means.dtype)] * means.shape[1]).sort(axis=0)
    is_new = np.ones(len(means), bool)
    for rows in row_blocks(len(means) - 1):
        is_new[rows + 1] = (means[rows + 1] != means[rows]).any(axis=1)
    distinct: Array = means if is_new.all() else means[is_new]
    return distinct


def cells_of(means: Array, rng: np.random.Generator) -> Array:
    """Centroids (cells, d) of `means` (k, d), 3 sqrt(k) of them at most: Lloyd's iterations."""
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
    """The nearest of `cells` to each of the means (k, d), or to those of the rows `which`."""
    rows = np.arange(len(means)) if which is None else which
    nearest = [
        scores_of(means[rows[block]], cells).argmax(axis=1) for block in row_blocks(len(rows))
    ]
    return np.concatenate([np.zeros(0, np.int64), *nearest])


def scores_of(points: Array, means: Array) -> Array:
    """The score (m, k) of each mean for each point: the higher, the nearer."""
    scores: Array = points @ means.T
    scores -= halves(means)  # in place: there are no larger arrays than these
    return scores


def halves(means: Array) -> Array:
    """Half the squared length (k,) of each of `means` (k, d)."""
    lengths: Array = np.einsum("kd,kd->k", means, means) / 2
    return lengths


def _drawn(vectors: Vectors, count: int, rng: np.random.Generator) -> Array:
    """`count` points (at most n).

    Source where they are few: k-means++ (Arthur & Vassilvitskii 2007), the best of some trials.
    """
    n = vectors.shape[0]
    if count > FEW_CLUSTERS or count >= n:
        return take(vectors, np.sort(rng.choice(n, min(n, count), replace=False)))
    some = np.sort(rng.choice(n, min(n, max(1024, 64 * count)), replace=False))
    points = take(vectors, some)
    trials = 2 + int(np.log(count))
    drawn = [int(rng.integers(len(points)))]
    apart = _apart(points, points[drawn])[:, 0]
    while len(drawn) < count:
        steps = np.cumsum(apart, dtype=np.float64)
        tried = np.searchsorted(steps, rng.random(trials) * steps[-1])
        tried = np.minimum(tried, len(points) - 1)
        left = np.minimum(_apart(points, points[tried]), apart[:, None])  # (m, trials)
        best = int(left.sum(axis=0, dtype=np.float64).argmin())
        drawn.append(int(tried[best]))
        apart = left[:, best]
    started: Array = points[drawn]
    return started


def _apart(points: Array, others: Array) -> Array:
    """Squared distances (n, m), never below 0."""
    lengths: Array = np.einsum("nd,nd->n", points, points)
    apart: Array = np.maximum(lengths[:, None] - 2 * scores_of(points, others), 0)
    return apart
