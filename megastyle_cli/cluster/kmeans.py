"""k-means for tens of thousands of clusters, without comparing every point with every centroid.

Three things make the difference to Lloyd's iterations. A point meets few centroids
(`kmeans_assign`). It moves by Hartigan's rule, which counts what the move does to both means:
Lloyd's compares with a mean that holds the point itself, and in clusters of twenty points stops
much too early. Empty clusters move to the points farthest from theirs (`kmeans_means`).

No bit depends on how the work is spread: blocks are cut by the labels alone. Of what is as large as
the centroids one copy is held, beside the points, which stay where they are.
Source: ours; Hartigan & Wong 1979 for the rule, all points of a round at once.
"""

# n points, d width, k clusters

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.cluster.kmeans_assign import (
    Assignment,
    CloseSearch,
    Round,
    Search,
    WholeSearch,
    weighed,
)
from megastyle_cli.cluster.kmeans_init import cells_of, first_means
from megastyle_cli.cluster.kmeans_update import fill_empty, move_means
from megastyle_cli.cluster.points import Vectors, all_squared_lengths
from megastyle_cli.compute.engine import Engine
from megastyle_cli.models.protocols import Assigner

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]

ROUNDS = 8
FEW_POINTS, ROUNDS_OF_FEW = 20_000, 24  # they cost nothing


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Each point's cluster (n,) int64, its squared distance to the centroid (n,) float32, and the
    centroids (k, d) float32, of which every one has points."""

    labels: Array
    distances: Array
    centroids: Array

    @property
    def objective(self) -> float:
        """The mean squared distance of a point to its centroid."""
        return _mean(self.distances)


def kmeans(
    vectors: Vectors, count: int, *, seed: int, engine: Engine, assigner: Assigner | None = None
) -> Clusters:
    """At most `count` clusters of `vectors` (n, d), finite, by Euclidean distance.

    There are fewer if fewer points differ. The same seed gives the same bits whatever the engine.
    A point's cluster is the nearest of those it met, for one point in a hundred not of all; with an
    `assigner`, which works on a device, it met all.
    """
    rng = np.random.default_rng(seed)
    n, d = vectors.shape
    if n == 0:
        return Clusters(
            labels=np.zeros(0, np.int64),
            distances=np.zeros(0, np.float32),
            centroids=np.zeros((0, d), np.float32),
        )
    points = _unassigned(vectors, engine)
    means = first_means(vectors, count, rng)
    search = _search(means, rng, engine, assigner)
    is_drawn = np.arange(min(n, count)) < len(means)
    return _refined(points, _padded(means, len(is_drawn)), is_drawn, search)


def assign(
    vectors: Vectors,
    means: Array,
    *,
    seed: int,
    engine: Engine,
    assigner: Assigner | None = None,
) -> Clusters:
    """The points of `vectors` (n, d) by the nearest of `means` (k, d), found as in `kmeans`."""
    points = _unassigned(vectors, engine)
    search = _search(means, np.random.default_rng(seed), engine, assigner)
    search.settle(points, weighed(means, np.ones(len(means), np.int64), is_plain=True))
    return _clusters(points, means)


def _unassigned(vectors: Vectors, engine: Engine) -> Assignment:
    squares = all_squared_lengths(vectors, engine)
    labels = np.zeros(len(squares), np.int64)
    return Assignment(vectors=vectors, squares=squares, labels=labels, distances=squares.copy())


def _search(
    means: Array, rng: np.random.Generator, engine: Engine, assigner: Assigner | None
) -> Search:
    return WholeSearch(assigner) if assigner else CloseSearch(cells_of(means, rng), engine)


def _refined(points: Assignment, means: Array, is_drawn: Array, search: Search) -> Clusters:
    """The clusters after all rounds; `means` (k, d), of which `is_drawn` (k,) are points, move."""
    n, k = len(points.labels), len(means)
    sizes = is_drawn.astype(np.int64)
    stale = np.zeros(k, bool)  # whose points have changed since the mean was taken
    rounds = ROUNDS_OF_FEW if n <= FEW_POINTS else ROUNDS
    for step in (Round(number=number, rounds=rounds) for number in range(rounds)):
        if step.number > 0:
            sizes = move_means(
                points.vectors, points.labels, means, stale, search.sums, search.block_rows
            )
        before = points.labels.copy()
        search.follow(points, weighed(means, sizes, is_plain=step.is_plain), step, stale)
        changed = np.flatnonzero(before != points.labels)
        log.info(
            "round %d of %d: %d points moved, mean squared distance %.5f",
            *(step.number + 1, rounds, len(changed), _mean(points.distances)),
        )
        stale = np.zeros(k, bool)
        stale[before[changed]] = stale[points.labels[changed]] = True
        if not step.is_last:
            stale |= fill_empty(points.labels, points.distances, points.squares, k)
    return _clusters(points, means)


def _clusters(points: Assignment, means: Array) -> Clusters:
    """Clusters without points left out, the others numbered as before."""
    used, labels = np.unique(points.labels, return_inverse=True)
    return Clusters(
        labels=labels,
        distances=np.maximum(points.distances, 0),
        centroids=means if len(used) == len(means) else means[used],
    )


def _padded(means: Array, count: int) -> Array:
    if len(means) == count:
        return means
    padded = np.zeros((count, means.shape[1]), np.float32)
    padded[: len(means)] = means
    return padded


def _mean(distances: Array) -> float:
    return float(np.maximum(distances, 0).mean(dtype=np.float64)) if len(distances) else 0.0
