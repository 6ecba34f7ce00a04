"""Approximate neighbors of unit vectors above a cosine threshold, by an inverted file (IVF).

Vectors are assigned to the cells of k-means centroids. Each is compared with the members of the
few cells nearest to it, its own included, so a pair is missed only if neither vector searches the
cell of the other. Recall is measured on a sample of vectors that are compared with all others, and
the number of cells is doubled until it reaches the recall asked for.
Source: ours, after inverted files (Sivic & Zisserman 2003).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.cluster.points import RowSubset
from megastyle_cli.compute.engine import Engine
from megastyle_cli.dedup.pairwise import (
    BLOCK,
    MAX_NEIGHBORS,
    SLACK,
    NeighborPairs,
    cosines,
    exact_neighbors,
)
from megastyle_cli.runner.progress import Stage

Array = npt.NDArray[Any]

MIN_SAMPLE = 1000  # vectors compared with all others; of many vectors, one in a hundred
MIN_SAMPLE_PAIRS = 100  # with fewer pairs than this, the sample is one vector in twenty
FIRST_PROBES = 8  # cells searched per vector at first
_TRAINING_POINTS = 32  # vectors per cell that centroids are trained on
_MAX_BUFFERED = 1 << 22  # pairs buffered before those beyond MAX_NEIGHBORS are dropped


@dataclass(frozen=True)
class SearchRecall:
    """How pairs were found: `probes` cells per vector (0: all pairs compared), and the recall.

    Of `pairs` true pairs of `sampled` vectors, `found` were found.
    """

    probes: int = 0
    sampled: int = 0
    pairs: int = 0
    found: int = 0

    @property
    def recall(self) -> float:
        """The share of true pairs found, in [0, 1]."""
        return self.found / self.pairs if self.pairs else 1.0


def search_neighbors(
    vectors: Array,
    start: int,
    threshold: float,
    min_recall: float,
    engine: Engine,
    progress: Stage | None = None,
) -> tuple[NeighborPairs, SearchRecall]:
    """The neighbors of `vectors[start:]`, as `exact_neighbors` returns them, and their recall.

    All pairs are compared if no smaller search reaches `min_recall`. The same vectors (n, d) give
    the same bits on any engine.
    """
    n = len(vectors)
    rng = np.random.default_rng(0)
    shuffled = start + rng.permutation(n - start)
    true, num_sampled = _sample_pairs(vectors, shuffled, threshold, engine, progress)
    centroids = _train_centroids(vectors, rng, engine)
    probes = FIRST_PROBES
    while probes <= len(centroids) // 4:
        pairs = _search_cells(vectors, start, centroids, probes, threshold, engine, progress)
        recall = SearchRecall(probes, num_sampled, len(true.one), _count_found(true, pairs, n))
        if recall.recall >= min_recall:
            return pairs, recall
        probes *= 2
    rows = np.arange(start, n)
    return exact_neighbors(vectors, rows, threshold, engine, progress), SearchRecall()


def _sample_pairs(
    vectors: Array, shuffled: Array, threshold: float, engine: Engine, progress: Stage | None
) -> tuple[NeighborPairs, int]:
    """All pairs of the first of the `shuffled` rows (m,), and the number of these rows."""
    count = max(MIN_SAMPLE, len(shuffled) // 100)
    true = exact_neighbors(vectors, np.sort(shuffled[:count]), threshold, engine, progress)
    if len(true.one) < MIN_SAMPLE_PAIRS and count < len(shuffled) // 20:
        count = len(shuffled) // 20
        true = exact_neighbors(vectors, np.sort(shuffled[:count]), threshold, engine, progress)
    return true, count


def _train_centroids(vectors: Array, rng: np.random.Generator, engine: Engine) -> Array:
    """Centroids (k, d) of about 2 sqrt(n) cells, trained on a random part of the vectors."""
    from megastyle_cli.cluster.kmeans import kmeans  # slow to import, and rarely needed

    n = len(vectors)
    count = max(1, round(2 * n**0.5))
    drawn = np.sort(rng.choice(n, min(n, _TRAINING_POINTS * count), replace=False))
    finite = drawn[np.isfinite(vectors[drawn]).all(axis=1)]
    return kmeans(RowSubset(vectors, finite), count, seed=0, engine=engine).centroids


def _count_found(true: NeighborPairs, pairs: NeighborPairs, n: int) -> int:
    known = pairs.one.astype(np.int64) * n + pairs.two
    wanted = true.one.astype(np.int64) * n + true.two
    return int(np.isin(wanted, known).sum())


def _search_cells(
    vectors: Array,
    start: int,
    centroids: Array,
    probes: int,
    threshold: float,
    engine: Engine,
    progress: Stage | None,
) -> NeighborPairs:
    n, k = len(vectors), len(centroids)
    blocks = [np.arange(low, min(low + BLOCK, n)) for low in range(0, n, BLOCK)]
    nearest = engine.map(_nearest_centroids, blocks, vectors, centroids, probes)
    cells = np.concatenate(list(nearest))  # (n, probes)
    own = cells[:, 0]
    order = np.argsort(own, kind="stable")
    members = np.split(order, np.searchsorted(own[order], np.arange(1, k)))
    searching = np.argsort(cells.ravel(), kind="stable")  # by cell, then by row
    edges = np.searchsorted(cells.ravel()[searching], np.arange(k + 1))
    searching //= probes

    def tasks() -> Iterator[tuple[Array, Array]]:
        for cell, bank in enumerate(members):
            queries = searching[edges[cell] : edges[cell + 1]]
            if len(bank) and max(bank[-1], queries[-1]) >= start:
                for low in range(0, len(queries), 4 * BLOCK):
                    yield queries[low : low + 4 * BLOCK], bank

    buffer = _PairBuffer(n)
    for one, two, score, truncated in engine.map(_search_cell, tasks(), vectors, start, threshold):
        buffer.add(one, two, score)
        buffer.is_truncated[truncated] = True
        if progress is not None:
            progress.advance()
    return NeighborPairs(*buffer.merge(), buffer.is_truncated[start:])


def _nearest_centroids(rows: Array, vectors: Array, centroids: Array, probes: int) -> Array:
    """The nearest centroids of each row, (m, probes) int32, nearest first; arbitrary for NaN."""
    scores = vectors[rows] @ centroids.T - 0.5 * np.einsum("kd,kd->k", centroids, centroids)
    best = np.argpartition(-scores, probes - 1, axis=1)[:, :probes]
    by = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
    found: Array = np.take_along_axis(best, by, 1).astype(np.int32)
    return found


def _search_cell(
    task: tuple[Array, Array], vectors: Array, start: int, threshold: float
) -> tuple[Array, Array, Array, Array]:
    """Close pairs of queries and members of a cell, and the rows with too many of them."""
    rows, members = task
    buffer = _PairBuffer(len(vectors))
    for low in range(0, len(members), BLOCK):
        bank_rows = members[low : low + BLOCK]
        bank = vectors[bank_rows]
        for first in range(0, len(rows), BLOCK):
            block = rows[first : first + BLOCK]
            queries = vectors[block]
            at, member = np.nonzero(queries @ bank.T >= threshold - SLACK)
            one = np.maximum(block[at], bank_rows[member])
            two = np.minimum(block[at], bank_rows[member])
            # blocks ascend: what a truncated row lacks comes later than what it has
            is_wanted = (one > two) & (one >= start) & ~buffer.is_truncated[one]
            one, two = one[is_wanted].astype(np.int32), two[is_wanted].astype(np.int32)
            score = cosines(vectors, one, vectors, two)
            is_close = score >= threshold
            buffer.add(one[is_close], two[is_close], score[is_close])
    return *buffer.merge(), np.flatnonzero(buffer.is_truncated)


class _PairBuffer:
    """Collects pairs, duplicates included; holds MAX_NEIGHBORS per row and the most recent ones."""

    def __init__(self, n: int) -> None:
        self.parts: list[tuple[Array, Array, Array]] = []
        self.num_new = 0
        self.is_truncated = np.zeros(n, bool)

    def add(self, one: Array, two: Array, score: Array) -> None:
        """Adds pairs."""
        if len(one):
            self.parts.append((one, two, score))
            self.num_new += len(one)
        if self.num_new > _MAX_BUFFERED:
            self.merge()

    def merge(self) -> tuple[Array, Array, Array]:
        """The distinct pairs by row, the first MAX_NEIGHBORS of each; marks truncated rows."""
        nothing = (np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))
        one, two, score = (np.concatenate(part) for part in zip(nothing, *self.parts, strict=True))
        by = np.lexsort((two, one))
        one, two, score = one[by], two[by], score[by]
        is_new = np.ones(len(one), bool)
        is_new[1:] = (one[1:] != one[:-1]) | (two[1:] != two[:-1])
        one, two, score = one[is_new], two[is_new], score[is_new]
        is_listed = np.arange(len(one)) - np.searchsorted(one, one) < MAX_NEIGHBORS
        self.is_truncated[one[~is_listed]] = True
        one, two, score = one[is_listed], two[is_listed], score[is_listed]
        self.parts, self.num_new = [(one, two, score)], 0
        return one, two, score
