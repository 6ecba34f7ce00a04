"""The assignment step of k-means with tens of thousands of centroids.

A point is compared with few of them: in a wide round with the members of the cells of centroids
nearest to it, in a narrow round with the neighbors of its centroid, whose lists are updated as the
centroids move. On a device that multiplies fast enough, it is compared with all centroids.
Source: ours; Wang et al. 2012 (cluster closures) for the narrow rounds.
"""

# n points, d width, k clusters, m points of one block, c centroids compared with a point

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.cluster.kmeans_init import half_squares, nearest_cells, proximity
from megastyle_cli.cluster.kmeans_update import block_sums
from megastyle_cli.cluster.points import (
    ClusterBlock,
    Vectors,
    cluster_blocks,
    row_blocks,
    take_rows,
)
from megastyle_cli.compute.engine import Engine
from megastyle_cli.models.protocols import Assigner

Array = npt.NDArray[Any]

NEIGHBORS = 48  # centroids in the neighbor list of a cluster
PROBED_CELLS = 8  # cells searched per point in a wide round
NEIGHBOR_CELLS = 40  # cells that a neighbor list is chosen from
PLAIN_ROUNDS = 2  # last rounds, in which points go to the nearest centroid
STAYING = 3  # one point in this many stays in its cluster in a round of an exhaustive search
PARTITIONED_ROWS = 256  # rows of scores partitioned at a time


@dataclass(frozen=True, kw_only=True)
class Round:
    """Round `number`, from 0, of `rounds`: which centroids points are compared with, and how."""

    number: int
    rounds: int

    @property
    def is_last(self) -> bool:
        """Whether the clusters of this round are the result."""
        return self.number == self.rounds - 1

    @property
    def is_plain(self) -> bool:
        """Whether points go to the nearest centroid instead of by Hartigan's rule."""
        return self.number == 0 or self.number >= self.rounds - PLAIN_ROUNDS

    @property
    def is_wide(self) -> bool:
        """Whether points are compared with the members of cells, not with neighbor lists."""
        return self.number in (0, self.rounds // 2, self.rounds - 1)

    @property
    def is_listed(self) -> bool:
        """Whether neighbor lists are rebuilt, and compared with all points."""
        return self.number <= 3 or self.number % 3 == 0


@dataclass(frozen=True, kw_only=True)
class Centroids:
    """Centroids (k, d), half their squared lengths (k,), and the factors (k,) of Hartigan's rule.

    Removing a point from its cluster of s points lowers the objective by `leave` = s / (s - 1)
    times its squared distance; adding one raises it by `join` = s / (s + 1) times. Both are 1 in a
    plain round. A centroid without points is infinitely far.
    """

    means: Array
    halves: Array
    leave: Array
    join: Array


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Points with their cluster `labels` (n,) int64 and squared `distances` (n,) float32.

    Both are changed in place. `squares` (n,) float32 are the squared lengths of `vectors` (n, d).
    """

    vectors: Vectors
    squares: Array
    labels: Array
    distances: Array


def weigh_centroids(means: Array, sizes: Array, *, is_plain: bool) -> Centroids:
    """The `means` (k, d) of clusters of `sizes` (k,), with the factors of Hartigan's rule."""
    lengths = half_squares(means)
    lengths[sizes == 0] = np.inf
    ones = np.ones(len(means), np.float32)
    # 0.5 avoids a division by zero: a single point is at distance 0 and stays with any factor
    leave = ones if is_plain else (sizes / np.maximum(sizes - 1, 0.5)).astype(np.float32)
    join = ones if is_plain else (np.maximum(sizes, 1) / (sizes + 1)).astype(np.float32)
    return Centroids(means=means, halves=lengths, leave=leave, join=join)


class NeighborSearch:
    """Compares points with nearby centroids, indexed by `cells` (cells, d), on an engine."""

    block_rows: int | None = None  # points summed at a time; None: BLOCK_ROWS

    def __init__(self, cells: Array, engine: Engine) -> None:
        self.cells, self.engine = cells, engine
        self.neighbors = np.zeros((0, 0), np.int64)  # (k, c)

    def reassign(self, points: Assignment, centroids: Centroids, step: Round, stale: Array) -> None:
        """Moves `points` to better centroids, of which the `stale` (k,) have changed.

        A narrow round visits only the clusters with a stale neighbor.
        """
        if step.is_wide:
            assign_by_cells(points, centroids, self.cells, self.engine)
            return
        if step.is_listed:
            self.neighbors = list_neighbors(centroids, self.cells, NEIGHBORS, self.engine)
        has_moved = stale[self.neighbors].any(axis=1) | step.is_listed
        assign_by_lists(points, centroids, self.neighbors, np.flatnonzero(has_moved), self.engine)

    def assign_all(self, points: Assignment, centroids: Centroids) -> None:
        """Moves `points` to the best centroids: a wide round, then a narrow one."""
        assign_by_cells(points, centroids, self.cells, self.engine)
        neighbors = list_neighbors(centroids, self.cells, NEIGHBORS, self.engine)
        assign_by_lists(points, centroids, neighbors, np.arange(len(neighbors)), self.engine)

    def sums(self, blocks: Sequence[ClusterBlock], vectors: Vectors) -> Iterable[Array]:
        """The sums of the points of each cluster (c, d) float32, block by block."""
        return self.engine.map(block_sums, blocks, vectors)


class ExhaustiveSearch:
    """Compares every point with every centroid, on the device of an assigner."""

    def __init__(self, assigner: Assigner) -> None:
        self.assigner = assigner
        self.block_rows: int | None = assigner.block_rows

    def reassign(self, points: Assignment, centroids: Centroids, step: Round, stale: Array) -> None:
        """Moves `points` to the best centroids, except one in STAYING, another in each round.

        Otherwise points would swap clusters, which costs some percent in clusters of a few points.
        """
        rows = np.arange(len(points.labels))
        if not step.is_plain:
            rows = rows[(rows + step.number) % STAYING != 0]
        self._assign(points, centroids, rows)

    def assign_all(self, points: Assignment, centroids: Centroids) -> None:
        """Moves all `points` to the best centroids."""
        self._assign(points, centroids, np.arange(len(points.labels)))

    def _assign(self, points: Assignment, centroids: Centroids, moving: Array) -> None:
        uploaded = self.assigner.upload(
            centroids.means, centroids.halves, centroids.leave, centroids.join
        )
        for block in row_blocks(len(moving), self.block_rows):
            rows = moving[block]
            found = self.assigner.assign(
                take_rows(points.vectors, rows), points.labels[rows], uploaded
            )
            points.labels[rows], points.distances[rows] = found

    def sums(self, blocks: Sequence[ClusterBlock], vectors: Vectors) -> Iterable[Array]:
        """As in `NeighborSearch`."""
        return (
            self.assigner.cluster_sums(take_rows(vectors, block.rows), block.edges)
            for block in blocks
        )


CentroidSearch = NeighborSearch | ExhaustiveSearch


def assign_by_cells(points: Assignment, centroids: Centroids, cells: Array, engine: Engine) -> None:
    """Sets labels and distances of all points, searching the cells nearest to each."""
    members = cell_members(centroids, cells)
    blocks = [
        (rows, points.labels[rows], points.squares[rows]) for rows in row_blocks(len(points.labels))
    ]
    found = engine.map(_best_in_cells, blocks, points.vectors, centroids, cells, members)
    for (rows, _, _), (best, squared) in zip(blocks, found, strict=True):
        points.labels[rows], points.distances[rows] = best, squared


def _best_in_cells(
    block: tuple[Array, Array, Array],
    vectors: Vectors,
    centroids: Centroids,
    cells: Array,
    members: list[Array],
) -> tuple[Array, Array]:
    """The best cluster of each point (m,), among its own and those in nearby cells; distances."""
    rows, own, squares = block
    points = take_rows(vectors, rows)
    labels = own.copy()
    own_scores = np.einsum("md,md->m", points, centroids.means[own]) - centroids.halves[own]
    distances = squares - 2 * own_scores
    costs = distances * centroids.leave[own]
    close = _top_columns(proximity(points, cells), PROBED_CELLS)  # (m, 8)
    order = np.argsort(close, axis=None, kind="stable")
    edges = np.searchsorted(close.ravel()[order], np.arange(len(cells) + 1)).tolist()
    for which, (start, stop) in zip(members, pairwise(edges), strict=True):
        if start == stop or len(which) == 0:
            continue
        rows_there = order[start:stop] // close.shape[1]
        squared = _squared_distances(points[rows_there], squares[rows_there], which, centroids)
        costs_there = squared * centroids.join[which]
        best = costs_there.argmin(axis=1)
        at = np.arange(len(rows_there))
        better = (costs_there[at, best] < costs[rows_there]) & (which[best] != own[rows_there])
        moving, best = rows_there[better], best[better]
        costs[moving] = costs_there[at[better], best]
        distances[moving] = squared[at[better], best]
        labels[moving] = which[best]
    return labels, distances


def assign_by_lists(
    points: Assignment, centroids: Centroids, neighbors: Array, which: Array, engine: Engine
) -> None:
    """Sets labels and distances of the points of clusters `which`, by neighbor lists (k, c)."""
    blocks = list(cluster_blocks(points.labels, which, len(neighbors)))
    items = ((block, points.squares[block.rows]) for block in blocks)
    found = engine.map(_best_in_lists, items, points.vectors, centroids, neighbors)
    for block, (best, squared) in zip(blocks, found, strict=True):
        points.labels[block.rows], points.distances[block.rows] = best, squared


def _best_in_lists(
    item: tuple[ClusterBlock, Array], vectors: Vectors, centroids: Centroids, neighbors: Array
) -> tuple[Array, Array]:
    """The best cluster of each point (m,) in the list of its cluster; squared distances (m,)."""
    block, squares = item
    points = take_rows(vectors, block.rows)
    labels, distances = np.empty(len(points), np.int64), np.empty(len(points), np.float32)
    for cluster, (start, stop) in zip(block.clusters, pairwise(block.edges), strict=True):
        which = neighbors[cluster]
        squared = _squared_distances(points[start:stop], squares[start:stop], which, centroids)
        factors = np.where(which == cluster, centroids.leave[cluster], centroids.join[which])
        best = (squared * factors).argmin(axis=1)
        labels[start:stop] = which[best]
        distances[start:stop] = squared[np.arange(stop - start), best]
    return labels, distances


def _squared_distances(points: Array, squares: Array, which: Array, centroids: Centroids) -> Array:
    """The squared distances (m, c) of `points` to the centroids `which` (c,).

    `squares` (m,) are the squared lengths of the points.
    """
    scores: Array = points @ centroids.means[which].T
    scores -= centroids.halves[which]
    scores *= -2
    scores += squares[:, None]
    return scores


def list_neighbors(centroids: Centroids, cells: Array, count: int, engine: Engine) -> Array:
    """The nearest `count` centroids of each centroid in the cells around it, (k, c), ascending.

    Each centroid is in its own list. All are listed if there are no more than `count`.
    """
    k = len(centroids.means)
    if k <= count:
        return np.tile(np.arange(k), (k, 1))
    members = cell_members(centroids, cells)
    around = np.argsort(
        half_squares(cells) - cells @ cells.T, axis=1, kind="stable"
    )  # (cells, cells)
    absent = np.flatnonzero(~np.isfinite(centroids.halves))
    blocks = [
        (rows, _nearby_members(members, around[cell], count))
        for cell, rows in enumerate(members)
        if len(rows)
    ]
    width = min([count, *(len(nearby) for _, nearby in blocks)])
    neighbors = np.zeros((k, width), np.int64)
    lists = engine.map(_list_nearest, blocks, centroids, width)
    for (rows, _), nearest in zip(blocks, lists, strict=True):
        neighbors[rows] = nearest
    neighbors[absent] = absent[:, None]
    return neighbors


def cell_members(centroids: Centroids, cells: Array) -> list[Array]:
    """The centroids in each cell, ascending, without those that have no points."""
    present = np.flatnonzero(np.isfinite(centroids.halves))
    cell = nearest_cells(centroids.means, cells, present)
    order = np.argsort(cell, kind="stable")
    return np.split(present[order], np.cumsum(np.bincount(cell, minlength=len(cells)))[:-1])


def _nearby_members(members: list[Array], around: Array, count: int) -> Array:
    """The members of the first cells of `around`, ascending: at least `count`, if available."""
    nearby, size = [], 0
    for number, cell in enumerate(around):
        if number >= NEIGHBOR_CELLS and size >= count:
            break
        nearby.append(members[cell])
        size += len(members[cell])
    return np.sort(np.concatenate(nearby))


def _list_nearest(block: tuple[Array, Array], centroids: Centroids, count: int) -> Array:
    rows, nearby = block
    scores = centroids.means[rows] @ centroids.means[nearby].T - centroids.halves[nearby]
    return np.sort(nearby[_top_columns(scores, count)], axis=1)


def _top_columns(scores: Array, count: int) -> Array:
    """The columns of the `count` highest scores of each row (m, c); negates `scores` in place."""
    if scores.shape[1] <= count:
        return np.tile(np.arange(scores.shape[1]), (len(scores), 1))
    top = np.empty((len(scores), count), np.int64)
    negated = np.negative(scores, out=scores)
    # in blocks, since the int64 indices of all scores would take twice their memory
    for rows in row_blocks(len(scores), PARTITIONED_ROWS):
        top[rows] = np.argpartition(negated[rows], count - 1, axis=1)[:, :count]
    return top
