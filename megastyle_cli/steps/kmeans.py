"""k-means for tens of thousands of clusters, without comparing every point with every centroid.

Three things make the difference to Lloyd's iterations. A point meets few centroids: those of the
cells of centroids that it is close to (a wide round), or those near the centroid of its cluster (a
narrow round; the lists follow the centroids). It moves by Hartigan's rule, which counts what the
move does to both means: Lloyd's compares with a mean that holds the point itself, and in clusters
of twenty points stops much too early. Empty clusters move to the points farthest from theirs.

No bit depends on how the work is spread: blocks are cut by the labels alone, a mean is summed over
its cluster's points in the order of their rows.
Source: ours; Hartigan & Wong 1979 for the rule, all points of a round at once; Wang et al. 2012
(cluster closures) for the narrow rounds.
"""

# n points, d width, k clusters, m points of one block, c centroids met by a point

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from megastyle_cli.engines.engine import Engine

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]

BLOCK_ROWS = 4096
NEAR = 48  # centroids in the list of a cluster
CELLS = 3  # cells, times the root of the number of clusters
CLOSE_CELLS = 8  # cells of centroids that a point looks into in a wide round
NEIGHBOR_CELLS = 40  # cells that the list of a cluster is drawn from
ROUNDS = 8
FEW_POINTS, ROUNDS_OF_FEW = 20_000, 24  # they cost nothing
FEW_CLUSTERS = 256
PLAIN_ROUNDS = 2  # at the end everyone goes to the nearest centroid
CELL_ITERATIONS = 6
SAME = 1e-6  # squared distance, beside the squared length, below which a point is its centroid


class Vectors(Protocol):
    """Points (n, d) that are held or mapped: `vectors[rows]` is (m, d), of any float type."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: Any, /) -> Array: ...


class Rows:
    """Some rows of vectors, as vectors of their own: nothing is copied."""

    def __init__(self, vectors: Vectors, rows: Array) -> None:
        self.vectors, self.rows = vectors, rows
        self.shape = (len(rows), vectors.shape[1])

    def __getitem__(self, rows: Any) -> Array:
        taken: Array = self.vectors[self.rows[rows]]
        return taken


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


@dataclass(frozen=True, kw_only=True)
class Block:
    """Points that stand together by cluster: `clusters[i]` has `rows[edges[i]:edges[i + 1]]`.

    A cluster of more than BLOCK_ROWS points comes in pieces, each in a block of its own.
    """

    clusters: Array
    edges: Array
    rows: Array


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


def kmeans(vectors: Vectors, count: int, *, seed: int, engine: Engine) -> Clusters:
    """At most `count` clusters of `vectors` (n, d), finite, by Euclidean distance.

    There are fewer if fewer points differ. The same seed gives the same bits whatever the engine.
    A point's cluster is the nearest of those it met, for one point in a hundred not of all.
    """
    rng = np.random.default_rng(seed)
    n, d = vectors.shape
    if n == 0:
        return Clusters(
            labels=np.zeros(0, np.int64),
            distances=np.zeros(0, np.float32),
            centroids=np.zeros((0, d), np.float32),
        )
    squares = np.concatenate(list(engine.map(squared_lengths, row_blocks(n), vectors)))
    means = np.unique(_drawn(vectors, count, rng), axis=0)  # equal ones would share their points
    cells = _lloyd(means, min(len(means), round(CELLS * len(means) ** 0.5)), rng)
    return _refine(vectors, squares, _padded(means, min(n, count)), len(means), cells, engine)


def _drawn(vectors: Vectors, count: int, rng: np.random.Generator) -> Array:
    """`count` points to start from (at most n): at random, or if they are few, far from each other.

    Source of the latter: k-means++ (Arthur & Vassilvitskii 2007), the best of some trials each.
    """
    n = vectors.shape[0]
    if count > FEW_CLUSTERS or count >= n:
        return _take(vectors, np.sort(rng.choice(n, min(n, count), replace=False)))
    some = np.sort(rng.choice(n, min(n, max(1024, 64 * count)), replace=False))
    points = _take(vectors, some)
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
    scores = points @ others.T - _halves(others)
    lengths: Array = np.einsum("nd,nd->n", points, points)
    apart: Array = np.maximum(lengths[:, None] - 2 * scores, 0)
    return apart


def assign(vectors: Vectors, means: Array, *, seed: int, engine: Engine) -> Clusters:
    """The points of `vectors` (n, d) by the nearest of `means` (k, d), found as in `kmeans`."""
    n, k = vectors.shape[0], len(means)
    squares = np.concatenate(list(engine.map(squared_lengths, row_blocks(n), vectors)))
    labels, distances = np.zeros(n, np.int64), squares.copy()
    cells = _lloyd(means, min(k, round(CELLS * k**0.5)), np.random.default_rng(seed))
    centroids = _weighed(means, np.ones(k, np.int64), plain=True)
    _assign_widely(vectors, squares, labels, distances, centroids, cells, engine)
    near = near_centroids(centroids, cells, NEAR, engine)
    _assign_nearby(vectors, squares, labels, distances, centroids, near, np.arange(k), engine)
    used, labels = np.unique(labels, return_inverse=True)
    return Clusters(labels=labels, distances=np.maximum(distances, 0), centroids=means[used])


def squared_lengths(rows: Array, vectors: Vectors) -> Array:
    """The squared length (m,) of the points at `rows`: not finite where a number of it is not."""
    points = _take(vectors, rows)
    lengths: Array = np.einsum("md,md->m", points, points)
    return lengths


def row_blocks(n: int) -> list[Array]:
    """The rows 0 to n - 1, BLOCK_ROWS at a time."""
    return [np.arange(start, min(n, start + BLOCK_ROWS)) for start in range(0, n, BLOCK_ROWS)]


def _refine(
    vectors: Vectors, squares: Array, means: Array, num_drawn: int, cells: Array, engine: Engine
) -> Clusters:
    n, k = len(squares), len(means)
    labels, distances = np.zeros(n, np.int64), squares.copy()
    sizes = (np.arange(k) < num_drawn).astype(np.int64)
    stale = np.zeros(k, bool)  # whose points have changed since the mean was taken
    near, rounds = np.zeros((k, 0), np.int64), ROUNDS_OF_FEW if n <= FEW_POINTS else ROUNDS
    for number in range(rounds):
        is_first, is_last = number == 0, number == rounds - 1
        if not is_first:
            sizes = _update(vectors, labels, means, stale, engine)
        plain = is_first or number >= rounds - PLAIN_ROUNDS
        centroids = _weighed(means, sizes, plain=plain)
        before = labels.copy()
        if is_first or is_last or number == rounds // 2:
            _assign_widely(vectors, squares, labels, distances, centroids, cells, engine)
        else:
            is_listed = number <= 3 or number % 3 == 0
            if is_listed:
                near = near_centroids(centroids, cells, NEAR, engine)
            which = np.flatnonzero(np.ones(k, bool) if is_listed else stale[near].any(axis=1))
            _assign_nearby(vectors, squares, labels, distances, centroids, near, which, engine)
        changed = np.flatnonzero(before != labels)
        log.info(
            "round %d of %d: %d points moved, mean squared distance %.5f",
            *(number + 1, rounds, len(changed), _mean(distances)),
        )
        stale = np.zeros(k, bool)
        stale[before[changed]] = stale[labels[changed]] = True
        if not is_last:
            stale |= _fill_empty(labels, distances, squares, k)
    used, labels = np.unique(labels, return_inverse=True)
    return Clusters(labels=labels, distances=np.maximum(distances, 0), centroids=means[used])


def _weighed(means: Array, sizes: Array, *, plain: bool) -> Centroids:
    halves = np.einsum("kd,kd->k", means, means) / 2
    halves[sizes == 0] = np.inf
    ones = np.ones(len(means), np.float32)
    # a point alone is at no distance: any factor keeps it
    leave = ones if plain else (sizes / np.maximum(sizes - 1, 0.5)).astype(np.float32)
    join = ones if plain else (np.maximum(sizes, 1) / (sizes + 1)).astype(np.float32)
    return Centroids(means=means, halves=halves, leave=leave, join=join)


def _update(vectors: Vectors, labels: Array, means: Array, stale: Array, engine: Engine) -> Array:
    """Sets the `stale` of `means` (k, d) to the means of their points; the sizes (k,) of all."""
    sizes = np.bincount(labels, minlength=len(means))
    which = np.flatnonzero(stale & (sizes > 0))
    place = np.zeros(len(means), np.int64)
    place[which] = np.arange(len(which))
    sums = np.zeros((len(which), means.shape[1]), np.float64)
    blocks = list(_blocks(labels, which, len(means)))
    for block, parts in zip(blocks, engine.map(_sums, blocks, vectors), strict=True):
        sums[place[block.clusters]] += parts  # a block has one piece of a cluster at most
    means[which] = sums / sizes[which, None]
    return sizes


def _sums(block: Block, vectors: Vectors) -> Array:
    """The sum of the points of each cluster of the block: (c, d) float32."""
    points = _take(vectors, block.rows)
    return np.stack([points[start:stop].sum(axis=0) for start, stop in pairwise(block.edges)])


def _assign_widely(
    vectors: Vectors,
    squares: Array,
    labels: Array,
    distances: Array,
    centroids: Centroids,
    cells: Array,
    engine: Engine,
) -> None:
    """Sets `labels` and `distances` (n,), looking into the cells close to each point."""
    members = _members(centroids, cells)
    blocks = [(rows, labels[rows], squares[rows]) for rows in row_blocks(len(labels))]
    found = engine.map(_nearest_in_cells, blocks, vectors, centroids, cells, members)
    for (rows, _, _), (nearest, apart) in zip(blocks, found, strict=True):
        labels[rows], distances[rows] = nearest, apart


def _nearest_in_cells(
    block: tuple[Array, Array, Array],
    vectors: Vectors,
    centroids: Centroids,
    cells: Array,
    members: list[Array],
) -> tuple[Array, Array]:
    """For each point (m,) the best cluster, its own or of its close cells; squared distances."""
    rows, own, squares = block
    points = _take(vectors, rows)
    labels = own.copy()
    own_scores = np.einsum("md,md->m", points, centroids.means[own]) - centroids.halves[own]
    distances = squares - 2 * own_scores
    costs = distances * centroids.leave[own]
    close = _closest(points @ cells.T - _halves(cells), CLOSE_CELLS)  # (m, 8)
    order = np.argsort(close, axis=None, kind="stable")
    edges = np.searchsorted(close.ravel()[order], np.arange(len(cells) + 1)).tolist()
    for which, (start, stop) in zip(members, pairwise(edges), strict=True):
        if start == stop or len(which) == 0:
            continue
        some = order[start:stop] // close.shape[1]
        apart = _squared_distances(points[some], squares[some], which, centroids)
        weighed = apart * centroids.join[which]
        best = weighed.argmin(axis=1)
        at = np.arange(len(some))
        better = (weighed[at, best] < costs[some]) & (which[best] != own[some])
        who, best = some[better], best[better]
        costs[who] = weighed[at[better], best]
        distances[who] = apart[at[better], best]
        labels[who] = which[best]
    return labels, distances


def _assign_nearby(
    vectors: Vectors,
    squares: Array,
    labels: Array,
    distances: Array,
    centroids: Centroids,
    near: Array,
    which: Array,
    engine: Engine,
) -> None:
    """Sets `labels` and `distances` (n,) of the points of the clusters `which`, by their lists."""
    blocks = list(_blocks(labels, which, len(near)))
    items = ((block, squares[block.rows]) for block in blocks)
    found = engine.map(_nearest_in_lists, items, vectors, centroids, near)
    for block, (nearest, apart) in zip(blocks, found, strict=True):
        labels[block.rows], distances[block.rows] = nearest, apart


def _nearest_in_lists(
    item: tuple[Block, Array], vectors: Vectors, centroids: Centroids, near: Array
) -> tuple[Array, Array]:
    """For each point (m,) of the block the best cluster of its cluster's list; distances (m,)."""
    block, squares = item
    points = _take(vectors, block.rows)
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
    members = _members(centroids, cells)
    around = np.argsort(_halves(cells) - cells @ cells.T, axis=1, kind="stable")  # (cells, cells)
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


def _members(centroids: Centroids, cells: Array) -> list[Array]:
    """The centroids with points that are nearest to each cell, ascending."""
    present = np.flatnonzero(np.isfinite(centroids.halves))
    cell = _nearest(centroids.means[present], cells)
    order = np.argsort(cell, kind="stable")
    return np.split(present[order], np.cumsum(np.bincount(cell, minlength=len(cells)))[:-1])


def _fill_empty(labels: Array, distances: Array, squares: Array, count: int) -> Array:
    """Moves the points farthest from their centroids into empty clusters; the clusters it changed.

    One of each cluster at most; ties go to the lower row. Points on their centroid stay.
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
    return touched


def _blocks(labels: Array, which: Array, count: int) -> Iterator[Block]:
    """The points of the clusters `which`, ascending, at most BLOCK_ROWS in a block."""
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels, minlength=count)
    starts = np.cumsum(sizes) - sizes
    held: list[tuple[int, int, int]] = []
    size = 0
    for cluster in which.tolist():
        first, left = int(starts[cluster]), int(sizes[cluster])
        while left:
            piece = min(left, BLOCK_ROWS)
            if size + piece > BLOCK_ROWS:
                yield _block(held, order)
                held, size = [], 0
            held.append((cluster, first, first + piece))
            first, left, size = first + piece, left - piece, size + piece
    if held:
        yield _block(held, order)


def _block(pieces: list[tuple[int, int, int]], order: Array) -> Block:
    sizes = [stop - start for _, start, stop in pieces]
    return Block(
        clusters=np.array([cluster for cluster, _, _ in pieces]),
        edges=np.concatenate([[0], np.cumsum(sizes)]),
        rows=np.concatenate([order[start:stop] for _, start, stop in pieces]),
    )


def _lloyd(points: Array, count: int, rng: np.random.Generator) -> Array:
    """At most `count` centroids (k, d) of a few held points (n, d): Lloyd's iterations."""
    centroids = points[np.sort(rng.choice(len(points), count, replace=False))]
    for _ in range(CELL_ITERATIONS):
        labels = _nearest(points, centroids)
        order = np.argsort(labels, kind="stable")
        starts = np.unique(labels[order], return_index=True)[1].tolist()
        ordered = points[order]
        centroids = np.stack(
            [ordered[a:b].mean(axis=0) for a, b in pairwise([*starts, len(points)])]
        )
    return centroids


def _nearest(points: Array, centroids: Array) -> Array:
    """The nearest of all `centroids` (k, d) to each of the points (n, d), which are few."""
    nearest = [
        (points[rows] @ centroids.T - _halves(centroids)).argmax(axis=1)
        for rows in row_blocks(len(points))
    ]
    return np.concatenate([np.zeros(0, np.int64), *nearest])


def _closest(scores: Array, count: int) -> Array:
    """The columns of the `count` highest scores of each row (m, c), in no order."""
    if scores.shape[1] <= count:
        return np.tile(np.arange(scores.shape[1]), (len(scores), 1))
    closest: Array = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    return closest


def _halves(centroids: Array) -> Array:
    halves: Array = np.einsum("kd,kd->k", centroids, centroids) / 2
    return halves


def _padded(means: Array, count: int) -> Array:
    padded = np.zeros((count, means.shape[1]), np.float32)
    padded[: len(means)] = means
    return padded


def _mean(distances: Array) -> float:
    return float(np.maximum(distances, 0).mean(dtype=np.float64)) if len(distances) else 0.0


def _take(vectors: Vectors, rows: Array) -> Array:
    return np.ascontiguousarray(vectors[rows], np.float32)
