"""k-means for tens of thousands of clusters, without comparing every point with every centroid.

It differs from Lloyd's algorithm in three ways. A point is compared with few centroids
(`kmeans_assign`). Points move by Hartigan's rule, which accounts for the change of both means;
Lloyd's compares with a mean that includes the point itself, and in clusters of twenty points
converges much too early. Empty clusters are refilled with the points farthest from their centroid
(`kmeans_update`).

No bit depends on how the work is distributed: blocks depend on the labels alone. Besides the
points, which stay where they are, one copy of the centroids is held.
Source: ours; Hartigan & Wong 1979 for the rule, applied to all points of a round at once.
"""

# n points, d width, k clusters

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.cluster.kmeans_assign import (
    Assignment,
    CentroidSearch,
    ExhaustiveSearch,
    NeighborSearch,
    Round,
    weigh_centroids,
)
from megastyle_cli.cluster.kmeans_init import initial_means, train_cells
from megastyle_cli.cluster.kmeans_update import fill_empty, update_means
from megastyle_cli.cluster.points import Vectors, all_squared_lengths, cluster_blocks
from megastyle_cli.compute.engine import Engine
from megastyle_cli.models.protocols import Assigner

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]

ROUNDS = 8
FEW_POINTS, ROUNDS_OF_FEW = 20_000, 24  # for few points more rounds are cheap


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """The cluster (n,) int64 of each point, its squared distance to the centroid (n,) float32,
    and the centroids (k, d) float32, each of which has points."""

    labels: Array
    distances: Array
    centroids: Array

    @property
    def objective(self) -> float:
        """The mean squared distance of a point to its centroid."""
        return _mean_distance(self.distances)


def kmeans(
    vectors: Vectors, count: int, *, seed: int, engine: Engine, assigner: Assigner | None = None
) -> Clusters:
    """At most `count` clusters of finite `vectors` (n, d), by Euclidean distance.

    There are fewer if there are fewer distinct points. The same seed gives the same bits on any
    engine. A point is assigned to the nearest centroid it was compared with, which for about one
    point in a hundred is not the nearest of all; an `assigner` compares with all, on its device.
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
    means = initial_means(vectors, count, rng)
    search = _make_search(means, rng, engine, assigner)
    is_drawn = np.arange(min(n, count)) < len(means)
    return _run_rounds(points, _pad(means, len(is_drawn)), is_drawn, search)


def assign(
    vectors: Vectors,
    means: Array,
    *,
    seed: int,
    engine: Engine,
    assigner: Assigner | None = None,
) -> Clusters:
    """Assigns `vectors` (n, d) to the nearest of `means` (k, d), searched as in `kmeans`."""
    points = _unassigned(vectors, engine)
    search = _make_search(means, np.random.default_rng(seed), engine, assigner)
    search.assign_all(points, weigh_centroids(means, np.ones(len(means), np.int64), is_plain=True))
    return _nonempty_clusters(points, means)


def _unassigned(vectors: Vectors, engine: Engine) -> Assignment:
    squares = all_squared_lengths(vectors, engine)
    labels = np.zeros(len(squares), np.int64)
    return Assignment(vectors=vectors, squares=squares, labels=labels, distances=squares.copy())


def _make_search(
    means: Array, rng: np.random.Generator, engine: Engine, assigner: Assigner | None
) -> CentroidSearch:
    if assigner:
        return ExhaustiveSearch(assigner)
    return NeighborSearch(train_cells(means, rng), engine)


def _run_rounds(
    points: Assignment, means: Array, is_drawn: Array, search: CentroidSearch
) -> Clusters:
    """The clusters after all rounds. `means` (k, d), of which `is_drawn` (k,) are set, change."""
    n, k = len(points.labels), len(means)
    sizes = is_drawn.astype(np.int64)
    stale = np.zeros(k, bool)  # whether points joined or left since the mean was computed
    rounds = ROUNDS_OF_FEW if n <= FEW_POINTS else ROUNDS
    for step in (Round(number=number, rounds=rounds) for number in range(rounds)):
        if step.number > 0:
            sizes = np.bincount(points.labels, minlength=k)
            which = np.flatnonzero(stale & (sizes > 0))
            blocks = list(cluster_blocks(points.labels, which, k, search.block_rows))
            update_means(means, sizes, blocks, search.sums(blocks, points.vectors))
        before = points.labels.copy()
        centroids = weigh_centroids(means, sizes, is_plain=step.is_plain)
        search.reassign(points, centroids, step, stale)
        changed = np.flatnonzero(before != points.labels)
        log.info(
            "round %d of %d: %d points moved, mean squared distance %.5f",
            *(step.number + 1, rounds, len(changed), _mean_distance(points.distances)),
        )
        stale = np.zeros(k, bool)
        stale[before[changed]] = stale[points.labels[changed]] = True
        if not step.is_last:
            stale |= fill_empty(points.labels, points.distances, points.squares, k)
    return _nonempty_clusters(points, means)


def _nonempty_clusters(points: Assignment, means: Array) -> Clusters:
    """The clusters that have points, in the order of their numbers."""
    used, labels = np.unique(points.labels, return_inverse=True)
    return Clusters(
        labels=labels,
        distances=np.maximum(points.distances, 0),
        centroids=means if len(used) == len(means) else means[used],
    )


def _pad(means: Array, count: int) -> Array:
    if len(means) == count:
        return means
    padded = np.zeros((count, means.shape[1]), np.float32)
    padded[: len(means)] = means
    return padded


def _mean_distance(distances: Array) -> float:
    return float(np.maximum(distances, 0).mean(dtype=np.float64)) if len(distances) else 0.0
