"""Hierarchical k-means over unit vectors, and a balanced choice down the levels.

Level 1 is the finest and clusters the points; level t clusters the centroids of level t - 1, so a
point reaches its coarse cluster through its fine ones. A choice is shared out from the coarsest
level down, large clusters giving no more than small ones can.
Source: Vo et al. 2024 (arXiv 2405.15613); the default levels are ours.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from megastyle_cli.cluster.kmeans import Clusters, assign, kmeans
from megastyle_cli.cluster.points import Rows, Vectors
from megastyle_cli.compute.engine import Engine
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.protocols import Assigner

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]
Members = Literal["random", "nearest"]

MAX_LEVELS = 4
POINTS_PER_CLUSTER = 20
FAN_OUT = 5


def auto_levels(n: int) -> list[int]:
    """Numbers of clusters for `n` points, finest first, when the user names none (ours).

    20 points to a cluster, as 1M styles in 50K clusters; below 200 points sqrt(n / 2) clusters.
    Then five clusters to one, at most four levels, none of a single cluster but the first.
    """
    levels = [max(1, round(max(n / POINTS_PER_CLUSTER, (n / 2) ** 0.5)))]
    while len(levels) < MAX_LEVELS and levels[-1] >= 2 * FAN_OUT:
        levels.append(round(levels[-1] / FAN_OUT))
    return levels


def fit_levels(levels: Sequence[int], n: int) -> list[int]:
    """`levels` as they are if `n` points fill the finest, else all shrunk by one factor.

    The factor makes the finest that of `auto_levels`; a level that then no longer has fewer
    clusters than the one before it is left out. Raises MegastyleError unless the levels are
    positive and each is smaller than the one before.
    """
    if not levels or min(levels) < 1 or any(fine <= coarse for fine, coarse in pairwise(levels)):
        raise MegastyleError(
            f"levels {','.join(map(str, levels))} are not numbers of clusters from fine to coarse",
            hint="give positive numbers, each smaller than the one before, as in 50000,10000,1000",
        )
    if levels[0] <= n:
        return list(levels)
    finest = auto_levels(n)[0]
    fitted = [finest]
    for level in levels[1:]:
        shrunk = max(1, round(level * finest / levels[0]))
        if shrunk < fitted[-1]:
            fitted.append(shrunk)
    return fitted


@dataclass(frozen=True, kw_only=True)
class Hierarchy:
    """Nested clusters of n points, finest level first.

    `assignments` is (n,) int64 a level, `distances` (n,) each point's squared distance to its
    finest centroid, `centroids` (k, d) a level, numbered as the assignments are, `objectives` the
    mean squared distance of what a level clusters: the points, then the centroids below.
    """

    assignments: list[Array]
    distances: Array
    centroids: list[Array]
    objectives: list[float]


def hierarchical_kmeans(
    vectors: Vectors,
    levels: Sequence[int],
    *,
    seed: int,
    engine: Engine,
    resamplings: int = 0,
    assigner: Assigner | None = None,
) -> Hierarchy:
    """Clusters `vectors` (n, d), finite, at every level; `levels` as `fit_levels` gives them.

    Clusters are numbered by the points they hold, most first, ties by their first point; there may
    be fewer than asked for (equal vectors). `resamplings` flatten the density, as in `resampled`;
    an `assigner` compares on its device.
    """
    n = vectors.shape[0]
    assignments: list[Array] = []
    centroids: list[Array] = []
    objectives: list[float] = []
    distances, points, chain = np.zeros(n, np.float32), vectors, np.arange(n)
    for level in levels if n else []:
        log.info("%d clusters of %d points", level, points.shape[0])
        count = min(level, points.shape[0])
        found = kmeans(points, count, seed=seed, engine=engine, assigner=assigner)
        found = resampled(points, found, resamplings, seed=seed, engine=engine, assigner=assigner)
        if points is vectors:
            distances = found.distances
        chain = found.labels[chain]  # (n,): the cluster that holds the cluster of the point
        order = _by_size(chain, len(found.centroids))
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        assignments.append(rank[chain])
        points, chain = found.centroids[order], assignments[-1]
        centroids.append(points)
        objectives.append(found.objective)
        del found  # its centroids are as many as those in order, which the next level clusters
    return Hierarchy(
        assignments=assignments or [np.zeros(0, np.int64) for _ in levels],
        distances=distances,
        centroids=centroids,
        objectives=objectives,
    )


def resampled(
    points: Vectors,
    found: Clusters,
    times: int,
    *,
    seed: int,
    engine: Engine,
    assigner: Assigner | None = None,
) -> Clusters:
    """The clusters after `times` resamplings: dense regions keep fewer of them.

    Each takes the points nearest to every centroid, half the mean size of a cluster and at least
    one, and clusters those alone; at the end all points go to the nearest of the last centroids.
    Source: Vo et al. 2024 (arXiv 2405.15613), section 3.3.
    """
    if times == 0:
        return found
    count = len(found.centroids)
    some = max(1, points.shape[0] // (2 * count))
    for time in range(times):
        kept = nearest_members(found.labels, found.distances, np.full(count, some))
        less = kmeans(
            Rows(points, kept), count, seed=seed + time + 1, engine=engine, assigner=assigner
        )
        found = assign(points, less.centroids, seed=seed, engine=engine, assigner=assigner)
        count = len(found.centroids)
    return found


def nearest_members(labels: Array, distances: Array, shares: Array) -> Array:
    """Ascending rows of the `shares[c]` points of each cluster c that are nearest its centroid.

    `labels` and `distances` are (n,), `shares` (k,); ties go to the lower row.
    """
    order = np.lexsort((distances, labels))
    sizes = np.bincount(labels, minlength=len(shares))
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[place < shares[labels[order]]])


def balanced_sample(
    assignments: Sequence[Array],
    target: int,
    rng: np.random.Generator,
    distances: Array | None = None,
) -> Array:
    """Ascending rows of min(target, n) points, shared evenly among the clusters of every level.

    `assignments` are (n,) each, finest first; the coarsest clusters share the target, each shares
    its part among the clusters within it, and the finest give random members, or, by `distances`
    (n,), those nearest to their centroid.
    """
    rows = np.lexsort(tuple(assignments))  # points of one cluster stand together at every level
    if distances is not None:
        rows = np.lexsort((distances, *assignments))
    pick = None if distances is not None else rng
    chosen = _share_down(rows, list(assignments), min(target, len(rows)), rng, pick)
    return np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))


def share_evenly(sizes: Array, target: int, rng: np.random.Generator) -> Array:
    """How many items each cluster gives so that large ones do not drown small ones.

    `sizes` is (c,). Each gives min(size, cut), with the largest whole cut whose sum stays within
    `target`; the rest goes one each to clusters with room, drawn by `rng`. The result is (c,) int64
    and sums to min(target, sizes.sum()).
    Source: Vo et al. 2024 (arXiv 2405.15613), balanced sampling.
    """
    sizes = np.asarray(sizes, np.int64)
    if target >= sizes.sum():
        return sizes.copy()
    low, high = 0, int(sizes.max())  # the sum fits at `low` and does not at `high`
    while high - low > 1:
        cut = (low + high) // 2
        low, high = (cut, high) if np.minimum(sizes, cut).sum() <= target else (low, cut)
    shares: Array = np.minimum(sizes, low)
    room = np.flatnonzero(sizes > low)
    shares[rng.choice(room, int(target - shares.sum()), replace=False)] += 1
    return shares


def entropy_bits(counts: Array) -> float:
    """The entropy of `counts` (c,) as shares: log2(c) if all are equal, 0 for one or none."""
    counts = np.asarray(counts, np.float64)
    shares = counts[counts > 0] / max(1.0, counts.sum())
    return float(np.abs((shares * np.log2(shares)).sum()))


def _by_size(labels: Array, count: int) -> Array:
    """The clusters (k,), all of which have points: most first, ties by first point."""
    _, first = np.unique(labels, return_index=True)
    return np.lexsort((first, -np.bincount(labels, minlength=count)))


def _share_down(
    rows: Array,
    levels: list[Array],
    target: int,
    rng: np.random.Generator,
    members: np.random.Generator | None,
) -> Iterator[Array]:
    """Parts of `target` of `rows`, which stand sorted by the coarsest of `levels` (the last).

    The finest give members drawn by `members`, or the first if it is None.
    """
    if target == len(rows):
        yield rows
    elif not levels:
        yield rows[:target] if members is None else members.choice(rows, target, replace=False)
    elif target > 0:
        labels = levels[-1][rows]
        groups = np.split(rows, np.flatnonzero(np.diff(labels)) + 1)
        shares = share_evenly(np.array([len(group) for group in groups]), target, rng)
        for group, share in zip(groups, shares.tolist(), strict=True):
            yield from _share_down(group, levels[:-1], share, rng, members)
