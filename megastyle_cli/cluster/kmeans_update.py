"""The update step of k-means: means of the assigned points, and points for empty clusters."""

# n points, d width, k clusters, c clusters of one block

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.cluster.points import ClusterBlock, Vectors, take_rows

Array = npt.NDArray[Any]

# Relative to the squared length, the squared distance below which a point equals its centroid.
SAME = 1e-6


def update_means(
    means: Array, sizes: Array, blocks: Iterable[ClusterBlock], sums: Iterable[Array]
) -> None:
    """Sets the `means` (k, d) of the clusters of `blocks` to those of their points, in place.

    `sizes` (k,) are the cluster sizes, `sums` the sums of the points of each cluster, by block.
    """
    last, carry = -1, np.zeros(means.shape[1])
    for block, parts in zip(blocks, sums, strict=True):
        total = parts.astype(np.float64)  # (c, d)
        if block.clusters[0] == last:
            total[0] += carry  # the cluster continues from the block before
        means[block.clusters] = total / sizes[block.clusters, None]
        last, carry = block.clusters[-1], total[-1].copy()


def block_sums(block: ClusterBlock, vectors: Vectors) -> Array:
    """The sum of the points of each cluster of the block, (c, d) float32, added in their order."""
    points = take_rows(vectors, block.rows)
    return np.stack([points[start:stop].sum(axis=0) for start, stop in pairwise(block.edges)])


def fill_empty(labels: Array, distances: Array, squares: Array, count: int) -> Array:
    """Moves the points farthest from their centroids to empty clusters, in place.

    At most one point of each cluster moves, then at distance 0; ties go to the lower row. Points
    on their centroid stay. `labels`, `distances` and `squares`, the squared lengths, are (n,).
    Returns which clusters changed, (count,) bool.
    """
    sizes = np.bincount(labels, minlength=count)
    empty = np.flatnonzero(sizes == 0)
    changed = np.zeros(count, bool)
    if len(empty) == 0:
        return changed
    order = np.argsort(-distances, kind="stable")
    order = order[distances[order] > SAME * squares[order]]
    _, first = np.unique(labels[order], return_index=True)
    far = order[np.sort(first)][: len(empty)]
    changed[labels[far]] = changed[empty[: len(far)]] = True
    labels[far] = empty[: len(far)]
    distances[far] = 0
    return changed
