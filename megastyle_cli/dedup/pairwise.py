"""Pairs of unit vectors at least so close, found by comparing all of them, block by block.

Exact within float32: what float32 finds, with some slack, is scored again in float64 and rounded
to six places, since a float32 unit vector is off by 1e-7 even from itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.engine import Engine

Array = npt.NDArray[Any]
Step = Callable[[], None]  # told after each part of a long work

BLOCK = 1024  # rows compared at a time with as many as fit a cache
_BANK = 2048
_AT_ONCE = 8192
SLACK = 1e-5  # float32 cosines err by less
AT_MOST = 256  # neighbours a row names; where there are more, it says so


@dataclass(frozen=True)
class Pairs:
    """Rows `one` (m,) and earlier rows `two` (m,) at least so close; `score` (m,) is the cosine.

    `is_cut` (n,) tells of each row asked for whether it has more neighbours than it names.
    """

    one: Array
    two: Array
    score: Array
    is_cut: Array


def neighbors(
    vectors: Array, rows: Array, threshold: float, engine: Engine, step: Step = lambda: None
) -> Pairs:
    """Each of `vectors[rows]` with the first AT_MOST of `vectors` (n, d) before it that are close.

    Close is a cosine of at least `threshold`; a vector with NaN is close to nothing. `rows` (m,)
    ascend; `step` is called after each block of BLOCK of them.
    """
    blocks = [rows[low : low + BLOCK] for low in range(0, len(rows), BLOCK)]
    found = []
    for part in engine.map(_neighbors_of, blocks, vectors, threshold):
        found.append(part)
        step()
    if not found:
        return Pairs(*(np.empty(0, kind) for kind in (np.int32, np.int32, np.float64, bool)))
    return Pairs(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def cosines_of(vectors: Array, one: Array, bank: Array, two: Array) -> Array:
    """(m,) float64: the cosines of unit rows `vectors[one]` and `bank[two]`, to six places."""
    cosines = np.empty(len(one))
    for start in range(0, len(one), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        pair = vectors[one[some]].astype(np.float64), bank[two[some]].astype(np.float64)
        cosines[some] = np.einsum("nd,nd->n", *pair)
    return np.minimum(np.round(cosines, 6), 1.0)


def _neighbors_of(
    rows: Array, vectors: Array, threshold: float
) -> tuple[Array, Array, Array, Array]:
    queries = np.ascontiguousarray(vectors[rows])
    counts = np.zeros(len(queries), np.int64)
    parts = [(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))]
    for start in range(0, int(rows[-1]), _BANK):
        bank = vectors[start : min(start + _BANK, int(rows[-1]))]
        one, two = np.nonzero(queries @ bank.T >= threshold - SLACK)
        two += start
        wanted = (two < rows[one]) & (counts[one] <= AT_MOST)
        one, two = one[wanted], two[wanted]
        score = cosines_of(queries, one, vectors, two)
        good = score >= threshold
        one, two, score = one[good], two[good], score[good]
        # one is ascending: the how-manieth neighbour of its row each of these is
        rank = np.arange(len(one)) - np.searchsorted(one, one) + counts[one]
        counts += np.bincount(one, minlength=len(queries))
        named = rank < AT_MOST
        parts.append((rows[one[named]].astype(np.int32), two[named].astype(np.int32), score[named]))
    ones, twos, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    return ones, twos, scores, counts > AT_MOST
