"""Pairs of unit vectors at least so close, found by comparing all of them, block by block.

Exact within float32: what float32 finds, with some slack, is scored again in float64 and rounded
to six places, since a float32 unit vector is off by 1e-7 even from itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.engines.engine import Engine

Array = npt.NDArray[Any]

BLOCK = 1024  # rows compared at a time with as many as fit a cache
_BANK = 8192
_SLACK = 1e-5  # float32 cosines err by less
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


def neighbors(vectors: Array, start: int, threshold: float, engine: Engine) -> Pairs:
    """Each of `vectors[start:]` (n, d) with the first AT_MOST before it of cosine >= `threshold`.

    A vector with NaN is close to nothing.
    """
    blocks = [(low, min(low + BLOCK, len(vectors))) for low in range(start, len(vectors), BLOCK)]
    found = list(engine.map(_neighbors_of, blocks, vectors, threshold))
    if not found:
        return Pairs(*(np.empty(0, kind) for kind in (np.int32, np.int32, np.float64, bool)))
    return Pairs(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def cosines_of(vectors: Array, one: Array, bank: Array, two: Array) -> Array:
    """(m,) float64: the cosines of unit rows `vectors[one]` and `bank[two]`, to six places."""
    cosines = np.empty(len(one))
    for start in range(0, len(one), _BANK):
        some = slice(start, start + _BANK)
        pair = vectors[one[some]].astype(np.float64), bank[two[some]].astype(np.float64)
        cosines[some] = np.einsum("nd,nd->n", *pair)
    return np.minimum(np.round(cosines, 6), 1.0)


def _neighbors_of(
    block: tuple[int, int], vectors: Array, threshold: float
) -> tuple[Array, Array, Array, Array]:
    low, high = block
    queries = np.ascontiguousarray(vectors[low:high])
    counts = np.zeros(len(queries), np.int64)
    parts = []
    for one, two in _close(queries, low, vectors, threshold - _SLACK):
        score = cosines_of(queries, one, vectors, two)
        good = score >= threshold
        one, two, score = one[good], two[good], score[good]
        # one is ascending: the how-manieth neighbour of its row each of these is
        rank = np.arange(len(one)) - np.searchsorted(one, one) + counts[one]
        counts += np.bincount(one, minlength=len(queries))
        named = rank < AT_MOST
        parts.append((one[named] + low, two[named], score[named]))
    ones, twos, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    return ones.astype(np.int32), twos.astype(np.int32), scores, counts > AT_MOST


def _close(queries: Array, low: int, vectors: Array, floor: float) -> Iterator[tuple[Array, Array]]:
    """Numbers of queries and of earlier vectors with cosine >= `floor`, a stretch at a time."""
    high = low + len(queries)
    for start in range(0, high, _BANK):
        bank = vectors[start : min(start + _BANK, high)]
        one, two = np.nonzero(queries @ bank.T >= floor)
        two += start
        earlier = two < one + low
        yield one[earlier], two[earlier]
