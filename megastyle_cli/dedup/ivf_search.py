"""Pairs of close unit vectors without comparing all: those in cells that either of the two is near.

The space is cut into the cells of some centroids. A vector is compared with those in the few cells
it is nearest to, its own among them; so a pair is missed only if neither looks into the cell of the
other, and the borders of cells cut no pair for themselves. How many pairs that finds is measured
on a sample of vectors that are compared with all, and more cells are looked into until it is as
many as asked for. Ours, after inverted files (Sivic & Zisserman 2003).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.cluster.points import Rows
from megastyle_cli.compute.engine import Engine
from megastyle_cli.dedup.pairwise import (
    AT_MOST,
    BLOCK,
    SLACK,
    Pairs,
    Step,
    cosines_of,
    neighbors,
)

Array = npt.NDArray[Any]

EXACT = 5_000_000_000  # comparisons that are simply made: those of 100,000 vectors
SAMPLED = 1000  # vectors compared with all, at least; one in a hundred of many
FEW_PAIRS = 100  # if they have fewer, one in twenty is
PROBES = 8  # cells looked into at first
_TRAINED = 32  # vectors a cell that its centroid is found from
_HELD = 1 << 22  # pairs held before those named too often are dropped


@dataclass(frozen=True)
class Search:
    """How pairs were found: by comparing all (`probes` 0), or by looking into so many cells.

    Of `pairs` that `sampled` vectors have with any before them, `found` were found.
    """

    probes: int = 0
    sampled: int = 0
    pairs: int = 0
    found: int = 0

    @property
    def recall(self) -> float:
        """The share of pairs found, in [0, 1]."""
        return self.found / self.pairs if self.pairs else 1.0


def search(
    vectors: Array,
    start: int,
    threshold: float,
    least_recall: float,
    engine: Engine,
    step: Step = lambda: None,
) -> tuple[Pairs, Search]:
    """Pairs as `neighbors` of `vectors[start:]` (n, d) finds them, and how they were found.

    All are compared if there are few, if `least_recall` is 1, or if less than all does not reach
    it. The same vectors give the same bits on any engine.
    """
    n = len(vectors)
    rows = np.arange(start, n)
    if least_recall >= 1 or (n - start) * (n + start) <= 2 * EXACT:
        return neighbors(vectors, rows, threshold, engine, step), Search()
    rng = np.random.default_rng(0)
    true, num_sampled = _sampled(
        vectors, start + rng.permutation(n - start), threshold, engine, step
    )
    means = _means(vectors, rng, engine)
    probes = PROBES
    while probes <= len(means) // 4:
        pairs = _pairs(vectors, start, means, probes, threshold, engine, step)
        found = _count_found(true, pairs, n)
        told = Search(probes, num_sampled, len(true.one), found)
        if told.recall >= least_recall:
            return pairs, told
        probes *= 2
    return neighbors(vectors, rows, threshold, engine, step), Search()


def _sampled(
    vectors: Array, rows: Array, threshold: float, engine: Engine, step: Step
) -> tuple[Pairs, int]:
    """All pairs of the first of `rows` (m,), and how many of them: more if they have few."""
    count = max(SAMPLED, len(rows) // 100)
    true = neighbors(vectors, np.sort(rows[:count]), threshold, engine, step)
    if len(true.one) < FEW_PAIRS and count < len(rows) // 20:
        count = len(rows) // 20
        true = neighbors(vectors, np.sort(rows[:count]), threshold, engine, step)
    return true, count


def _means(vectors: Array, rng: np.random.Generator, engine: Engine) -> Array:
    """Centroids (k, d) of about twice the root of n cells, found on a part of the vectors."""
    from megastyle_cli.cluster.kmeans import kmeans  # slow to load, and few runs come here

    n = len(vectors)
    count = max(1, round(2 * n**0.5))
    drawn = np.sort(rng.choice(n, min(n, _TRAINED * count), replace=False))
    finite = drawn[np.isfinite(vectors[drawn]).all(axis=1)]
    return kmeans(Rows(vectors, finite), count, seed=0, engine=engine).centroids


def _count_found(true: Pairs, pairs: Pairs, n: int) -> int:
    known = pairs.one.astype(np.int64) * n + pairs.two  # ascending
    asked = true.one.astype(np.int64) * n + true.two
    return int(np.isin(asked, known).sum())


def _pairs(
    vectors: Array,
    start: int,
    means: Array,
    probes: int,
    threshold: float,
    engine: Engine,
    step: Step,
) -> Pairs:
    n, k = len(vectors), len(means)
    blocks = [np.arange(low, min(low + BLOCK, n)) for low in range(0, n, BLOCK)]
    near = np.concatenate(list(engine.map(_nearest, blocks, vectors, means, probes)))  # (n, probes)
    own = near[:, 0]
    order = np.argsort(own, kind="stable")
    members = np.split(order, np.searchsorted(own[order], np.arange(1, k)))
    asking = np.argsort(near.ravel(), kind="stable")  # by cell, then by row
    edges = np.searchsorted(near.ravel()[asking], np.arange(k + 1))
    asking //= probes

    def work() -> Iterator[tuple[Array, Array]]:
        for cell, bank in enumerate(members):
            queries = asking[edges[cell] : edges[cell + 1]]
            if len(bank) and max(bank[-1], queries[-1]) >= start:
                for low in range(0, len(queries), 4 * BLOCK):
                    yield queries[low : low + 4 * BLOCK], bank

    held = _Held(n)
    for some in engine.map(_close_in_cell, work(), vectors, start, threshold):
        held.add(*some[:3])
        held.is_cut[some[3]] = True
        step()
    return Pairs(*held.look(), held.is_cut[start:])


def _nearest(rows: Array, vectors: Array, means: Array, probes: int) -> Array:
    """(m, probes) int32: the nearest centroids, nearest first; not of a vector with NaN."""
    scores = vectors[rows] @ means.T - 0.5 * np.einsum("kd,kd->k", means, means)
    best = np.argpartition(-scores, probes - 1, axis=1)[:, :probes]
    by = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
    found: Array = np.take_along_axis(best, by, 1).astype(np.int32)
    return found


def _close_in_cell(
    item: tuple[Array, Array], vectors: Array, start: int, threshold: float
) -> tuple[Array, Array, Array, Array]:
    """Close pairs of queries and members of a cell, as `_first_named` gives them."""
    rows, members = item
    held = _Held(len(vectors))
    for low in range(0, len(members), BLOCK):
        bank_rows = members[low : low + BLOCK]
        bank = vectors[bank_rows]
        for first in range(0, len(rows), BLOCK):
            some = rows[first : first + BLOCK]
            queries = vectors[some]
            at, member = np.nonzero(queries @ bank.T >= threshold - SLACK)
            one = np.maximum(some[at], bank_rows[member])
            two = np.minimum(some[at], bank_rows[member])
            # blocks come in ascending order: what a cut row lacks is later than what it has
            asked = (one > two) & (one >= start) & ~held.is_cut[one]
            one, two = one[asked].astype(np.int32), two[asked].astype(np.int32)
            score = cosines_of(vectors, one, vectors, two)
            good = score >= threshold
            held.add(one[good], two[good], score[good])
    return *held.look(), np.flatnonzero(held.is_cut)


def _first_named(one: Array, two: Array, score: Array) -> tuple[Array, Array, Array, Array]:
    """Distinct pairs by row, the first AT_MOST of each; and the rows that have more."""
    by = np.lexsort((two, one))
    one, two, score = one[by], two[by], score[by]
    fresh = np.ones(len(one), bool)
    fresh[1:] = (one[1:] != one[:-1]) | (two[1:] != two[:-1])
    one, two, score = one[fresh], two[fresh], score[fresh]
    rank = np.arange(len(one)) - np.searchsorted(one, one)
    named = rank < AT_MOST
    return one[named], two[named], score[named], np.unique(one[~named])


class _Held:
    """Pairs as cells give them; of a row no more than AT_MOST and what came since the last look."""

    def __init__(self, n: int) -> None:
        self.parts: list[tuple[Array, Array, Array]] = []
        self.num_new = 0
        self.is_cut = np.zeros(n, bool)

    def add(self, one: Array, two: Array, score: Array) -> None:
        """Pairs more; of few rows or of many."""
        if len(one):
            self.parts.append((one, two, score))
            self.num_new += len(one)
        if self.num_new > _HELD:
            self.look()

    def look(self) -> tuple[Array, Array, Array]:
        """All pairs, distinct and by row."""
        nothing = (np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))
        joined = (np.concatenate(part) for part in zip(nothing, *self.parts, strict=True))
        one, two, score, cut = _first_named(*joined)
        self.is_cut[cut] = True
        self.parts, self.num_new = [(one, two, score)], 0
        return one, two, score
