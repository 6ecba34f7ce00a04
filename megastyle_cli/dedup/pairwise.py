"""Neighbors of unit vectors above a cosine threshold, found by comparing all pairs in blocks.

Exact within float32: pairs that reach the threshold in float32, with some slack, are scored again
in float64 and rounded to six digits, since a float32 unit vector is off by 1e-7 even from itself.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.engine import Engine
from megastyle_cli.runner.progress import Stage

Array = npt.NDArray[Any]

BLOCK = 1024  # queries compared at a time, each block with a block of vectors that fits a cache
_BANK = 2048
_COSINES_AT_ONCE = 8192
SLACK = 1e-5  # more than the error of a float32 cosine
MAX_NEIGHBORS = 256  # listed per row; `is_truncated` marks rows that have more


@dataclass(frozen=True)
class NeighborPairs:
    """Pairs of a row `one` (m,) and an earlier row `two` (m,), with their cosine `score` (m,).

    `is_truncated` (n,) marks each query row that has more neighbors than are listed.
    """

    one: Array
    two: Array
    score: Array
    is_truncated: Array


def exact_neighbors(
    vectors: Array,
    rows: Array,
    threshold: float,
    engine: Engine,
    progress: Stage | None = None,
) -> NeighborPairs:
    """The first MAX_NEIGHBORS rows before each of `rows` whose cosine is at least `threshold`.

    `vectors` are unit rows (n, d) float32, `rows` (m,) ascending query rows. A vector with NaN has
    no neighbors. `progress` advances by one for each block of queries.
    """
    blocks = [rows[low : low + BLOCK] for low in range(0, len(rows), BLOCK)]
    found = []
    for part in engine.map(_block_neighbors, blocks, vectors, threshold):
        found.append(part)
        if progress is not None:
            progress.advance()
    if not found:
        return NeighborPairs(*(np.empty(0, kind) for kind in (np.int32, np.int32, float, bool)))
    return NeighborPairs(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def cosines(vectors: Array, one: Array, others: Array, two: Array) -> Array:
    """The cosines (m,) float64 of unit rows `vectors[one]` and `others[two]`, to six digits."""
    found = np.empty(len(one))
    for start in range(0, len(one), _COSINES_AT_ONCE):
        part = slice(start, start + _COSINES_AT_ONCE)
        pair = vectors[one[part]].astype(np.float64), others[two[part]].astype(np.float64)
        found[part] = np.einsum("nd,nd->n", *pair)
    return np.minimum(np.round(found, 6), 1.0)


def _block_neighbors(
    rows: Array, vectors: Array, threshold: float
) -> tuple[Array, Array, Array, Array]:
    queries = np.ascontiguousarray(vectors[rows])
    counts = np.zeros(len(queries), np.int64)
    parts = [(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))]
    for start in range(0, int(rows[-1]), _BANK):
        bank = vectors[start : min(start + _BANK, int(rows[-1]))]
        one, two = np.nonzero(queries @ bank.T >= threshold - SLACK)
        two += start
        is_wanted = (two < rows[one]) & (counts[one] <= MAX_NEIGHBORS)
        one, two = one[is_wanted], two[is_wanted]
        score = cosines(queries, one, vectors, two)
        is_close = score >= threshold
        one, two, score = one[is_close], two[is_close], score[is_close]
        # `one` is ascending: the rank of each neighbor among those of its row
        rank = np.arange(len(one)) - np.searchsorted(one, one) + counts[one]
        counts += np.bincount(one, minlength=len(queries))
        is_listed = rank < MAX_NEIGHBORS
        listed = one[is_listed]
        parts.append(
            (rows[listed].astype(np.int32), two[is_listed].astype(np.int32), score[is_listed])
        )
    ones, twos, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    return ones, twos, scores, counts > MAX_NEIGHBORS
