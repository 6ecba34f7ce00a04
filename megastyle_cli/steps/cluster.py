"""Hierarchical k-means over unit vectors, and a balanced choice down the levels.

Level 1 is the finest and clusters the points; level t clusters the centroids of level t - 1, so a
point reaches its coarse cluster through its fine ones. A choice is shared out from the coarsest
level down, large clusters giving no more than small ones can.
Source: Vo et al. 2024 (arXiv 2405.15613), without its resampling; the default levels are ours.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from megastyle_cli.errors import MegastyleError

Array = npt.NDArray[Any]

ITERATIONS = 20
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


def hierarchical_kmeans(vectors: Array, levels: Sequence[int], seed: int) -> list[Array]:
    """The cluster of every point at every level, finest first: (n,) int64 each.

    `vectors` is (n, d) float32 with unit rows, `levels` as `fit_levels` gives them. Clusters are
    numbered by the points they hold, most first, ties by their first point; a cluster nobody is
    nearest to is left out, so there may be fewer than asked for (equal vectors).
    """
    if len(vectors) == 0:
        return [np.zeros(0, np.int64) for _ in levels]
    assignments: list[Array] = []
    centroids, chain = np.ascontiguousarray(vectors, np.float32), np.arange(len(vectors))
    for level in levels:
        nearest, centroids = _kmeans(centroids, min(level, len(centroids)), seed)
        chain = nearest[chain]  # (n,): the cluster that holds the cluster that holds the point
        assignments.append(_by_size(chain))
    return assignments


def balanced_sample(assignments: Sequence[Array], target: int, rng: np.random.Generator) -> Array:
    """Ascending rows of min(target, n) points, shared evenly among the clusters of every level.

    `assignments` are (n,) each, finest first; the coarsest clusters share the target, each shares
    its part among the clusters within it, and the finest give random members.
    """
    rows = np.lexsort(tuple(assignments))  # points of one cluster stand together at every level
    chosen = _share_down(rows, list(assignments), min(target, len(rows)), rng)
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


def _kmeans(points: Array, count: int, seed: int) -> tuple[Array, Array]:
    """For each point (n,) the nearest of at most `count` unit centroids; those in use (c, d)."""
    with _one_thread():
        clustering = faiss.Kmeans(
            points.shape[1],
            count,
            niter=ITERATIONS,
            spherical=True,
            seed=seed % 2**31,
            # every point counts, however many: faiss would draw a sample and warn
            max_points_per_centroid=len(points),
            min_points_per_centroid=1,
        )
        clustering.train(points)
        _, nearest = clustering.index.search(points, 1)
    used, numbers = np.unique(nearest[:, 0], return_inverse=True)
    centroids: Array = np.asarray(clustering.centroids)
    return numbers, centroids[used]


@contextmanager
def _one_thread() -> Iterator[None]:
    # the sums inside a matrix product may be split by thread, and a last bit can move a point
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _by_size(labels: Array) -> Array:
    """`labels` (n,) renumbered: most members first, ties by first member."""
    _, first, numbers, counts = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -counts))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    renumbered: Array = rank[numbers]
    return renumbered


def _share_down(
    rows: Array, levels: list[Array], target: int, rng: np.random.Generator
) -> Iterator[Array]:
    """Parts of `target` of `rows`, which stand sorted by the coarsest of `levels` (the last)."""
    if target == len(rows):
        yield rows
    elif not levels:
        yield rng.choice(rows, target, replace=False)
    elif target > 0:
        labels = levels[-1][rows]
        groups = np.split(rows, np.flatnonzero(np.diff(labels)) + 1)
        shares = share_evenly(np.array([len(group) for group in groups]), target, rng)
        for group, share in zip(groups, shares.tolist(), strict=True):
            yield from _share_down(group, levels[:-1], share, rng)
