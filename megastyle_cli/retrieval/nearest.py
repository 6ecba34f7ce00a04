"""Exact nearest neighbours by cosine: screened in float32, rescored in float64."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.retrieval.embed import Array

# for each query, the row numbers to exclude
Excluded = Sequence[Sequence[int] | Array] | Array | None

SPARE = 16  # candidates beyond k, to see whether the screening found enough
PRODUCTS = 2**22  # held at a time: 16 MiB
MAX_ROWS = 2**16  # multiplied at a time
RESCORE_CELLS = 2**20  # float64 numbers multiplied at a time: 8 MiB


class Searcher(Protocol):
    """Searches fixed rows by a `method` with `settings`, which identify what is cached for it.

    `stats` go to --stats, `remarks` are printed at the end of a run.
    """

    method: str
    settings: Mapping[str, Any]
    stats: Mapping[str, Any]
    remarks: Sequence[str]

    def search(self, queries: Array, k: int, excluded: Excluded = None) -> tuple[Array, Array]:
        """Scores (q, k) and row numbers (q, k) for `queries` (q, d), as `nearest` returns them."""
        ...


class ExactSearcher:
    """Compares every query with every row of `vectors` (n, d)."""

    method = "exact"
    settings: Mapping[str, Any] = {}
    stats: Mapping[str, Any] = {}
    remarks: Sequence[str] = ()

    def __init__(self, vectors: Array) -> None:
        self.vectors = vectors

    def search(self, queries: Array, k: int, excluded: Excluded = None) -> tuple[Array, Array]:
        """The k nearest rows by cosine: see `nearest`."""
        return nearest(queries, self.vectors, k, excluded)


def nearest(queries: Array, bank: Array, k: int, excluded: Excluded = None) -> tuple[Array, Array]:
    """The k most similar rows of `bank` for each query.

    `queries` is (q, d) and `bank` (n, d), float32 with unit rows, so the inner product is the
    cosine; k is cut to n. `excluded[i]` holds row numbers that query i must not find. Returns
    scores (q, k) float64, descending, and row numbers (q, k); ties go to the lower row. Where
    fewer than k rows are allowed, the rest hold score -inf and row -1. A result does not depend on
    the other queries. Raises MegastyleError if the widths differ.

    The last bits of a float32 matrix product depend on the shape of the block, so it only screens:
    every row that it could have misplaced is scored again in float64.
    """
    if queries.shape[1] != bank.shape[1]:
        raise MegastyleError(
            f"queries have {queries.shape[1]} dimensions, the index has {bank.shape[1]}",
            hint="build the index with the same --backend and --model",
        )
    k = min(k, len(bank))
    scores, rows = np.full((len(queries), k), -np.inf), np.full((len(queries), k), -1)
    pending, spare = np.arange(len(queries) if k else 0), SPARE
    while len(pending):
        part = None if excluded is None else [excluded[int(i)] for i in pending]
        candidates, is_complete = _screen(queries[pending], bank, k, part, spare)
        done = pending[is_complete]
        scores[done], rows[done] = rescore(candidates[is_complete], queries[done], bank, k)
        pending, spare = pending[~is_complete], 16 * spare
    return scores, rows


def rescore(candidates: Array, queries: Array, bank: Array, k: int) -> tuple[Array, Array]:
    """The k best of each query's `candidates` (q, c), row numbers or -1, by float64 cosine.

    Returns scores (q, k) and rows (q, k) as `nearest` does.
    """
    num_missing = max(0, k - candidates.shape[1])
    rows = np.sort(np.pad(candidates, ((0, 0), (0, num_missing)), constant_values=-1), axis=1)
    scores = _cosines(rows, queries, bank)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # rows ascend, so ties do too
    return np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)


def mask_excluded(found: Array, excluded: Excluded, num_rows: int) -> Array:
    """`found` (q, c) with -1 in place of the rows that `excluded[i]` forbids query i to find."""
    if excluded is None:
        return found
    # query and row as one number
    forbidden = [np.asarray(rows, np.int64) + i * num_rows for i, rows in enumerate(excluded)]
    pairs = found + np.arange(len(found))[:, None] * num_rows
    return np.where(np.isin(pairs, np.concatenate([*forbidden, []])), -1, found)


def _screen(
    queries: Array, bank: Array, k: int, excluded: Excluded, spare: int
) -> tuple[Array, Array]:
    """Candidate rows (q, c), or -1, and whether (q,) they include all of the k best."""
    max_excluded = 0 if excluded is None else max(map(len, excluded))
    rough, found = _best_products(queries, bank, min(len(bank), k + spare + max_excluded))
    found = mask_excluded(found, excluded, len(bank))
    rough = np.where(found >= 0, rough, -np.inf)
    best = np.argsort(-rough, axis=1, kind="stable")[:, : k + spare]
    rough, found = np.take_along_axis(rough, best, axis=1), np.take_along_axis(found, best, axis=1)
    # twice the largest error of two sums of d products of unit rows in float32
    cutoff = rough[:, k - 1] - 2 * queries.shape[1] * np.finfo(np.float32).eps
    has_all_rows = rough.shape[1] == len(bank)
    is_complete = np.isneginf(rough[:, -1]) | (rough[:, -1] < cutoff) | has_all_rows
    return np.where(rough >= cutoff[:, None], found, -1), is_complete


def _best_products(queries: Array, bank: Array, count: int) -> tuple[Array, Array]:
    """The `count` largest products (q, count) float32 of each query, and their rows, in no order.

    Where there are fewer, the rest are -inf and -1. The bank may be larger than memory.
    """
    queries = np.ascontiguousarray(queries, np.float32)
    best = np.full((len(queries), count), -np.inf, np.float32)
    rows = np.full((len(queries), count), -1)
    step = min(MAX_ROWS, max(1, PRODUCTS // len(queries)))
    for start in range(0, len(bank), step):
        block = np.asarray(bank[start : start + step], np.float32)
        products = queries @ block.T
        # those that a query has kept already do not change unless there is a larger one
        which, at = np.nonzero(products > best.min(axis=1)[:, None])
        if not len(which):
            continue
        counts = np.bincount(which, minlength=len(queries))
        column = count + np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        new = np.full((len(queries), count + counts.max()), -np.inf, np.float32)
        new_rows = np.full(new.shape, -1)
        new[:, :count], new_rows[:, :count] = best, rows
        new[which, column], new_rows[which, column] = products[which, at], at + start
        largest = np.argpartition(-new, count - 1, axis=1)[:, :count]
        best = np.take_along_axis(new, largest, axis=1)
        rows = np.take_along_axis(new_rows, largest, axis=1)
    return best, rows


def _cosines(rows: Array, queries: Array, bank: Array) -> Array:
    """The cosines (q, c) float64 of each query with its `rows` (q, c); -inf where the row is -1."""
    scores = np.full(rows.size, -np.inf)
    flat = rows.ravel()
    positions = np.flatnonzero(flat >= 0)
    step = max(1, RESCORE_CELLS // bank.shape[1])
    for start in range(0, len(positions), step):
        part = positions[start : start + step]
        query_vectors = queries[part // rows.shape[1]].astype(np.float64)
        bank_vectors = np.asarray(bank[flat[part]], np.float64)
        scores[part] = (query_vectors * bank_vectors).sum(axis=1)
    return scores.reshape(rows.shape)
