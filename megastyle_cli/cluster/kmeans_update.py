"""Means that follow their points, and clusters without points that are given some."""

# n points, d width, k clusters, c clusters of one block

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.cluster.points import Block, Vectors, cluster_blocks, take

Array = npt.NDArray[Any]
# The sum of the points of each cluster (c, d) float32, block by block.
SumBlocks = Callable[[Sequence[Block], Vectors], Iterable[Array]]

SAME = 1e-6  # squared distance, beside the squared length, below which a point is its centroid


def move_means(
    vectors: Vectors,
    labels: Array,
    means: Array,
    stale: Array,
    sums: SumBlocks,
    block_rows: int | None = None,
) -> Array:
    """Sets the `stale` of `means` (k, d) to the means of their points; the sizes (k,) of all.

    No bit depends on how the work is spread: a mean is summed over the points of its cluster in the
    order of their rows.
    """
    sizes = np.bincount(labels, minlength=len(means))
    which = np.flatnonzero(stale & (sizes > 0))
    blocks = list(cluster_blocks(labels, which, len(means), block_rows))
    last, carried = -1, np.zeros(means.shape[1])
    for block, parts in zip(blocks, sums(blocks, vectors), strict=True):
        total = parts.astype(np.float64)  # (c, d)
        if block.clusters[0] == last:
            total[0] += carried  # of a cluster that came in pieces
        means[block.clusters] = total / sizes[block.clusters, None]
        last, carried = block.clusters[-1], total[-1].copy()
    return sizes


def block_sums(block: Block, vectors: Vectors) -> Array:
    """The sum of the points of each cluster of the block: (c, d) float32."""
    points = take(vectors, block.rows)
    return np.stack([points[start:stop].sum(axis=0) for start, stop in pairwise(block.edges)])


def fill_empty(labels: Array, distances: Array, squares: Array, count: int) -> Array:
    """Moves the points farthest from their centroids into empty clusters; the clusters it changed.

    One of each cluster at most, now at no distance; ties go to the lower row. Points on their
    centroid stay. `labels`,
    `distances` and `squares`, the squared lengths, are (n,); the answer is (count,) bool.
    """
    sizes = np.bincount(labels, minlength=count)
    empty = np.flatnonzero(sizes == 0)
    touched = np.zeros(count, bool)
    if len(empty) == 0:
        return touched
    order = np.argsort(-distances, kind="stable")
    order = order[distances[order] > SAME * squares[order]]
    _, first = np.unique(labels[order], return_index=True)
    far = order[np.sort(first)][: len(empty)]
    touched[labels[far]] = touched[empty[: len(far)]] = True
    labels[far] = empty[: len(far)]
    distances[far] = 0
    return touched
