"""Which of tens of thousands of centroids is best for a point, of the few that it meets.

Those of the cells of centroids that it is close to (a wide round), or those near the centroid of
its cluster (a narrow round; the lists follow the centroids). Or, on a device that multiplies fast
enough, all of them.
Source: ours; Wang et al. 2012 (cluster closures) for the narrow rounds.
"""

# n points, d width, k clusters, m points of one block, c centroids met by a point

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from megastyle_cli.cluster.kmeans_init import halves, nearest_cells, scores_of
from megastyle_cli.cluster.kmeans_update import block_sums
from megastyle_cli.cluster.points import Block, Vectors, cluster_blocks, row_blocks, take
from megastyle_cli.compute.engine import Engine
from megastyle_cli.models.protocols import Assigner

Array = npt.NDArray[Any]

NEAR = 48  # centroids in the list of a cluster
CLOSE_CELLS = 8  # cells of centroids that a point looks into in a wide round
NEIGHBOR_CELLS = 40  # cells that the list of a cluster is drawn from
PLAIN_ROUNDS = 2  # at the end everyone goes to the nearest centroid
STAYING = 3
SORTED_ROWS = 256  # rows of scores that are put in order at once


@dataclass(frozen=True, kw_only=True)
class Round:
    """Round `number`, from 0, of `rounds`: what is compared with what in it."""

    number: int
    rounds: int

    @property
    def is_last(self) -> bool:
        """Whether points keep the clusters that they get now."""
        return self.number == self.rounds - 1

    @property
    def is_plain(self) -> bool:
        """Whether a point goes to the nearest centroid, whatever that does to the means."""
        return self.number == 0 or self.number >= self.rounds - PLAIN_ROUNDS

    @property
    def is_wide(self) -> bool:
        """Whether points look into cells, not into lists."""
        return self.number in (0, self.rounds // 2, self.rounds - 1)

    @property
    def is_listed(self) -> bool:
        """Whether the lists are made anew, for all points."""
        return self.number <= 3 or self.number % 3 == 0


@dataclass(frozen=True, kw_only=True)
class Centroids:
    """Centroids (k, d), half their squared lengths (k,), and the factors (k,) of Hartigan's rule.

    A point that leaves its cluster of s saves `leave` = s / (s - 1) times its squared distance;
    one that joins a cluster of s costs `join` = s / (s + 1) times. Both are 1 in a plain round. A
    centroid without points is infinitely far.
    """

    means: Array
    halves: Array
    leave: Array
    join: Array


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Points by cluster: `labels` (n,) int64 and squared `distances` (n,) float32 change in place.

    `squares` (n,) float32 are the squared lengths of `vectors` (n, d).
    """

    vectors: Vectors
    squares: Array
    labels: Array
    distances: Array


class Search(Protocol):
    """What finds the best centroid of every point, and adds up the points of a cluster."""

    block_rows: int | None  # points that are added up at once; None: BLOCK_ROWS

    def follow(self, points: Assignment, centroids: Centroids, step: Round, stale: Array) -> None:
        """Brings `points` to better centroids; those that are `stale` (k,) have moved."""

    def settle(self, points: Assignment, centroids: Centroids) -> None:
        """Brings `points` to the best centroids, wherever they were before."""

    def sums(self, blocks: Sequence[Block], vectors: Vectors) -> Iterable[Array]:
        """The sum of the points of each cluster (c, d) float32, block by block."""


def weighed(means: Array, sizes: Array, *, is_plain: bool) -> Centroids:
    """The `means` (k, d) of clusters of these `sizes` (k,)."""
    lengths = halves(means)
    lengths[sizes == 0] = np.inf
    ones = np.ones(len(means), np.float32)
    # a point alone is at no distance: any factor keeps it
    leave = ones if is_plain else (sizes / np.maximum(sizes - 1, 0.5)).astype(np.float32)
    join = ones if is_plain else (np.maximum(sizes, 1) / (sizes + 1)).astype(np.float32)
    return Centroids(means=means, halves=lengths, leave=leave, join=join)


class CloseSearch:
    """Compares a point with centroids of `cells` (cells, d) close to it, on the engine's cores."""

    block_rows: int | None = None

    def __init__(self, cells: Array, engine: Engine) -> None:
        self.cells, self.engine = cells, engine
        self.near = np.zeros((0, 0), np.int64)  # (k, c): the list of each centroid

    def follow(self, points: Assignment, centroids: Centroids, step: Round, stale: Array) -> None:
        """See `Search.follow`: narrow rounds look at the points whose lists have moved."""
        if step.is_wide:
            assign_widely(points, centroids, self.cells, self.engine)
            return
        if step.is_listed:
            self.near = near_centroids(centroids, self.cells, NEAR, self.engine)
        moved = np.ones(len(stale), bool) if step.is_listed else stale[self.near].any(axis=1)
        assign_nearby(points, centroids, self.near, np.flatnonzero(moved), self.engine)

    def settle(self, points: Assignment, centroids: Centroids) -> None:
        """See `Search.settle`: a wide round, and a narrow one from there."""
        assign_widely(points, centroids, self.cells, self.engine)
        near = near_centroids(centroids, self.cells, NEAR, self.engine)
        assign_nearby(points, centroids, near, np.arange(len(near)), self.engine)

    def sums(self, blocks: Sequence[Block], vectors: Vectors) -> Iterable[Array]:
        """See `Search.sums`."""
        return self.engine.map(block_sums, blocks, vectors)


class WholeSearch:
    """Compares every point with every centroid, on a device."""

    def __init__(self, assigner: Assigner) -> None:
        self.assigner = assigner
        self.block_rows: int | None = assigner.block_rows

    def follow(self, points: Assignment, centroids: Centroids, step: Round, stale: Array) -> None:
        """See `Search.follow`: one point in STAYING, another each round, stays in its cluster.

        Points that would swap places do not, then; in clusters of a few that costs some percent.
        """
        rows = np.arange(len(points.labels))
        if not step.is_plain:
            rows = rows[(rows + step.number) % STAYING != 0]
        self._assign(points, centroids, rows)

    def settle(self, points: Assignment, centroids: Centroids) -> None:
        """See `Search.settle`."""
        self._assign(points, centroids, np.arange(len(points.labels)))

    def _assign(self, points: Assignment, centroids: Centroids, moving: Array) -> None:
        kept = self.assigner.upload(
            centroids.means, centroids.halves, centroids.leave, centroids.join
        )
        for block in row_blocks(len(moving), self.block_rows):
            rows = moving[block]
            found = self.assigner.assign(take(points.vectors, rows), points.labels[rows], kept)
            points.labels[rows], points.distances[rows] = found

    def sums(self, blocks: Sequence[Block], vectors: Vectors) -> Iterable[Array]:
        """See `Search.sums`."""
        return (
            self.assigner.cluster_sums(take(vectors, block.rows), block.edges) for block in blocks
        )


def assign_widely(points: Assignment, centroids: Centroids, cells: Array, engine: Engine) -> None:
    """Sets labels and distances of all points, looking into the cells close to each."""
    members = members_of(centroids, cells)
    blocks = [
        (rows, points.labels[rows], points.squares[rows]) for rows in row_blocks(len(points.labels))
    ]
    found = engine.map(_best_in_cells, blocks, points.vectors, centroids, cells, members)
    for (rows, _, _), (best, apart) in zip(blocks, found, strict=True):
        points.labels[rows], points.distances[rows] = best, apart


def _best_in_cells(
    block: tuple[Array, Array, Array],
    vectors: Vectors,
    centroids: Centroids,
    cells: Array,
    members: list[Array],
) -> tuple[Array, Array]:
    """For each point (m,) the best cluster, its own or of its close cells; squared distances."""
    rows, own, squares = block
    points = take(vectors, rows)
    labels = own.copy()
    own_scores = np.einsum("md,md->m", points, centroids.means[own]) - centroids.halves[own]
    distances = squares - 2 * own_scores
    costs = distances * centroids.leave[own]
    close = _closest(scores_of(points, cells), CLOSE_CELLS)  # (m, 8)
    order = np.argsort(close, axis=None, kind="stable")
    edges = np.searchsorted(close.ravel()[order], np.arange(len(cells) + 1)).tolist()
    for which, (start, stop) in zip(members, pairwise(edges), strict=True):
        if start == stop or len(which) == 0:
            continue
        some = order[start:stop] // close.shape[1]
        apart = _squared_distances(points[some], squares[some], which, centroids)
        costs_there = apart * centroids.join[which]
        best = costs_there.argmin(axis=1)
        at = np.arange(len(some))
        better = (costs_there[at, best] < costs[some]) & (which[best] != own[some])
        who, best = some[better], best[better]
        costs[who] = costs_there[at[better], best]
        distances[who] = apart[at[better], best]
        labels[who] = which[best]
    return labels, distances


def assign_nearby(
    points: Assignment, centroids: Centroids, near: Array, which: Array, engine: Engine
) -> None:
    """Sets labels and distances of the points of the clusters `which`, by their lists (k, c)."""
    blocks = list(cluster_blocks(points.labels, which, len(near)))
    items = ((block, points.squares[block.rows]) for block in blocks)
    found = engine.map(_best_in_lists, items, points.vectors, centroids, near)
    for block, (best, apart) in zip(blocks, found, strict=True):
        points.labels[block.rows], points.distances[block.rows] = best, apart


def _best_in_lists(
    item: tuple[Block, Array], vectors: Vectors, centroids: Centroids, near: Array
) -> tuple[Array, Array]:
    """For each point (m,) of the block the best cluster of its cluster's list; distances (m,)."""
    block, squares = item
    points = take(vectors, block.rows)
    labels, distances = np.empty(len(points), np.int64), np.empty(len(points), np.float32)
    for cluster, (start, stop) in zip(block.clusters, pairwise(block.edges), strict=True):
        which = near[cluster]
        apart = _squared_distances(points[start:stop], squares[start:stop], which, centroids)
        factors = np.where(which == cluster, centroids.leave[cluster], centroids.join[which])
        best = (apart * factors).argmin(axis=1)
        labels[start:stop] = which[best]
        distances[start:stop] = apart[np.arange(stop - start), best]
    return labels, distances


def _squared_distances(points: Array, squares: Array, which: Array, centroids: Centroids) -> Array:
    """Of `points` (m, d), of squared lengths (m,), to the centroids `which` (c,): (m, c)."""
    scores: Array = points @ centroids.means[which].T
    scores -= centroids.halves[which]
    scores *= -2
    scores += squares[:, None]
    return scores


def near_centroids(centroids: Centroids, cells: Array, count: int, engine: Engine) -> Array:
    """The list of each centroid, ascending: the nearest `count` of the cells around its own.

    (k, c), itself among them; all of them if there are no more than `count`.
    """
    k = len(centroids.means)
    if k <= count:
        return np.tile(np.arange(k), (k, 1))
    members = members_of(centroids, cells)
    around = np.argsort(halves(cells) - cells @ cells.T, axis=1, kind="stable")  # (cells, cells)
    absent = np.flatnonzero(~np.isfinite(centroids.halves))
    blocks = [
        (rows, _gathered(members, around[cell], count))
        for cell, rows in enumerate(members)
        if len(rows)
    ]
    near = np.zeros((k, min([count, *(len(met) for _, met in blocks)])), np.int64)
    for (rows, _), found in zip(
        blocks, engine.map(_list_near, blocks, centroids, near.shape[1]), strict=True
    ):
        near[rows] = found
    near[absent] = absent[:, None]
    return near


def members_of(centroids: Centroids, cells: Array) -> list[Array]:
    """The centroids with points that are nearest to each cell, ascending."""
    present = np.flatnonzero(np.isfinite(centroids.halves))
    cell = nearest_cells(centroids.means, cells, present)
    order = np.argsort(cell, kind="stable")
    return np.split(present[order], np.cumsum(np.bincount(cell, minlength=len(cells)))[:-1])


def _gathered(members: list[Array], around: Array, count: int) -> Array:
    """The members of the first cells of `around`, ascending: at least `count`, if there are."""
    met, size = [], 0
    for number, cell in enumerate(around):
        if number >= NEIGHBOR_CELLS and size >= count:
            break
        met.append(members[cell])
        size += len(members[cell])
    return np.sort(np.concatenate(met))


def _list_near(block: tuple[Array, Array], centroids: Centroids, count: int) -> Array:
    rows, met = block
    scores = centroids.means[rows] @ centroids.means[met].T - centroids.halves[met]
    return np.sort(met[_closest(scores, count)], axis=1)


def _closest(scores: Array, count: int) -> Array:
    """The columns of the `count` highest of each row of `scores` (m, c), which are negated."""
    if scores.shape[1] <= count:
        return np.tile(np.arange(scores.shape[1]), (len(scores), 1))
    closest = np.empty((len(scores), count), np.int64)
    far = np.negative(scores, out=scores)
    for rows in row_blocks(len(scores), SORTED_ROWS):  # places of all would be twice the scores
        closest[rows] = np.argpartition(far[rows], count - 1, axis=1)[:, :count]
    return closest
