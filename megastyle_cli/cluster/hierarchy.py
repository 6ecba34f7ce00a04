"""Hierarchical k-means over unit vectors, and balanced sampling from its levels.

Level 1 is the finest and clusters the points; level t clusters the centroids of level t - 1, so a
point belongs to its coarse cluster through its fine ones. A sample is divided evenly among the
clusters from the coarsest level down, as far as their sizes allow.
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
from megastyle_cli.cluster.points import RowSubset, Vectors
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
    """The default numbers of clusters for `n` points, finest first (ours).

    20 points per cluster, as for 1M styles in 50K clusters; below 200 points, sqrt(n / 2) clusters.
    Each further level has a fifth of the clusters, up to four levels, and more than one cluster.
    """
    levels = [max(1, round(max(n / POINTS_PER_CLUSTER, (n / 2) ** 0.5)))]
    while len(levels) < MAX_LEVELS and levels[-1] >= 2 * FAN_OUT:
        levels.append(round(levels[-1] / FAN_OUT))
    return levels


def fit_levels(levels: Sequence[int], n: int) -> list[int]:
    """`levels` unchanged if the finest has at most `n` clusters, else all scaled by one factor.

    The factor makes the finest level that of `auto_levels`; a level that then has no fewer clusters
    than the one before it is dropped. Raises MegastyleError unless the levels are positive and
    each is smaller than the one before.
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

    By level, `assignments` are (n,) int64, `centroids` (k, d), and `objectives` the mean squared
    distance of what the level clusters: the points, or the centroids of the level below.
    `distances` (n,) are the squared distances of the points to their finest centroid.
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
    """Clusters finite `vectors` (n, d) at every level; `levels` as `fit_levels` returns them.

    Clusters are numbered by size, largest first, ties by their first point; there may be fewer
    than asked for if vectors are equal. `resamplings` are as in `resample`. An `assigner` compares
    vectors and centroids on its device.
    """
    n = vectors.shape[0]
    assignments: list[Array] = []
    centroids: list[Array] = []
    objectives: list[float] = []
    distances, points = np.zeros(n, np.float32), vectors
    point_of = np.arange(n)  # which of `points` represents each vector
    for level in levels if n else []:
        log.info("%d clusters of %d points", level, points.shape[0])
        count = min(level, points.shape[0])
        found = kmeans(points, count, seed=seed, engine=engine, assigner=assigner)
        found = resample(points, found, resamplings, seed=seed, engine=engine, assigner=assigner)
        if points is vectors:
            distances = found.distances
        labels = found.labels[point_of]  # (n,)
        order = _by_size(labels, len(found.centroids))
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        assignments.append(rank[labels])
        points, point_of = found.centroids[order], assignments[-1]
        centroids.append(points)
        objectives.append(found.objective)
        del found  # frees its centroids: `points` is a copy of them
    return Hierarchy(
        assignments=assignments or [np.zeros(0, np.int64) for _ in levels],
        distances=distances,
        centroids=centroids,
        objectives=objectives,
    )


def resample(
    points: Vectors,
    found: Clusters,
    times: int,
    *,
    seed: int,
    engine: Engine,
    assigner: Assigner | None = None,
) -> Clusters:
    """The clusters after `times` resamplings, which leave fewer clusters to dense regions.

    Each takes the points nearest to every centroid, half the mean cluster size but at least one,
    clusters only those, and assigns all points to the nearest of the new centroids.
    Source: Vo et al. 2024 (arXiv 2405.15613), section 3.3.
    """
    if times == 0:
        return found
    count = len(found.centroids)
    members = max(1, points.shape[0] // (2 * count))
    for time in range(times):
        kept = nearest_members(found.labels, found.distances, np.full(count, members))
        subset = RowSubset(points, kept)
        fewer = kmeans(subset, count, seed=seed + time + 1, engine=engine, assigner=assigner)
        found = assign(points, fewer.centroids, seed=seed, engine=engine, assigner=assigner)
        count = len(found.centroids)
    return found


def nearest_members(labels: Array, distances: Array, shares: Array) -> Array:
    """The rows, ascending, of the `shares[c]` points nearest to the centroid of each cluster c.

    `labels` and `distances` are (n,), `shares` (k,); ties go to the lower row.
    """
    order = np.lexsort((distances, labels))
    sizes = np.bincount(labels, minlength=len(shares))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[rank < shares[labels[order]]])


def balanced_sample(
    assignments: Sequence[Array],
    target: int,
    rng: np.random.Generator,
    distances: Array | None = None,
) -> Array:
    """The rows, ascending, of min(target, n) points, divided evenly among clusters at every level.

    `assignments` are (n,) each, finest first. The target is divided among the coarsest clusters,
    each share among the clusters within, and the finest give random members or, with `distances`
    (n,), the members nearest to their centroid.
    """
    # sorted so that the points of a cluster are contiguous at every level
    keys = assignments if distances is None else (distances, *assignments)
    rows = np.lexsort(tuple(keys))
    member_rng = rng if distances is None else None
    sample = _sample_level(rows, list(assignments), min(target, len(rows)), rng, member_rng)
    return np.sort(np.concatenate([np.empty(0, np.int64), *sample]))


def share_evenly(sizes: Array, target: int, rng: np.random.Generator) -> Array:
    """How many items to take from each cluster so that large ones do not drown small ones.

    `sizes` is (c,). Each cluster gives min(size, cut), with the largest whole cut whose sum stays
    within `target`; the remainder is one more item each from larger clusters drawn by `rng`. The
    result is (c,) int64 and sums to min(target, sizes.sum()).
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
    larger = np.flatnonzero(sizes > low)
    shares[rng.choice(larger, int(target - shares.sum()), replace=False)] += 1
    return shares


def entropy_bits(counts: Array) -> float:
    """The entropy in bits of `counts` (c,): log2(c) if all are equal, 0 for one or none."""
    counts = np.asarray(counts, np.float64)
    shares = counts[counts > 0] / max(1.0, counts.sum())
    return float(np.abs((shares * np.log2(shares)).sum()))


def _by_size(labels: Array, count: int) -> Array:
    """The clusters (k,), none of them empty, by size, largest first; ties by first point."""
    _, first = np.unique(labels, return_index=True)
    return np.lexsort((first, -np.bincount(labels, minlength=count)))


def _sample_level(
    rows: Array,
    levels: list[Array],
    target: int,
    rng: np.random.Generator,
    member_rng: np.random.Generator | None,
) -> Iterator[Array]:
    """A sample of `target` of `rows`, in parts; `rows` are sorted by `levels`, the last first.

    Members of the finest clusters are drawn by `member_rng`; the first are taken if it is None.
    """
    if target == len(rows):
        yield rows
    elif not levels:
        rows = rows if member_rng is None else member_rng.choice(rows, target, replace=False)
        yield rows[:target]
    elif target > 0:
        labels = levels[-1][rows]
        groups = np.split(rows, np.flatnonzero(np.diff(labels)) + 1)
        shares = share_evenly(np.array([len(group) for group in groups]), target, rng)
        for group, share in zip(groups, shares.tolist(), strict=True):
            yield from _sample_level(group, levels[:-1], share, rng, member_rng)
