"""Vectors of pictures and their nearest rows: what `retrieve` and `eval` share."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import faiss
import numpy as np

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.record_images import ReadPictures, open_record_pictures
from megastyle_cli.models.protocols import StyleEncoder

if TYPE_CHECKING:
    from PIL.Image import Image

Array = np.ndarray[Any, np.dtype[Any]]
Barred = Sequence[Sequence[int] | Array] | Array | None
T = TypeVar("T")

BATCH = 32
SPARE = 16  # rows the screen finds beyond those asked for, so that it can be seen to be enough
MATRIX_QUERIES = 4  # so many are multiplied as a matrix, fewer one by one
EXACT_CELLS = 2**20  # float64 numbers multiplied at a time: 8 MiB


def embed_records(
    records: Iterable[Record], encoder: StyleEncoder, read: ReadPictures, key: str = "file_name"
) -> Iterator[tuple[Record, Array] | Failure]:
    """Each record with the unit vector (d,) of the picture its `key` names, or a Failure, in order.

    A Failure is `missing_key`, what `read` says of the picture, or `model_error` if its vector is
    not finite. Holds one batch at a time.
    """
    for batch in batched(records, BATCH):
        names = [record.get(key) for record in batch]
        vectors = embed_pictures(open_record_pictures(batch, key, read), names, encoder)
        for record, vector in zip(batch, vectors, strict=True):
            if isinstance(vector, BadRecord):
                yield Failure(record, vector.kind, vector.message)
            else:
                yield record, vector


def embed_pictures(
    pictures: "Sequence[Image | BadRecord]", names: Sequence[object], encoder: StyleEncoder
) -> list[Array | BadRecord]:
    """A unit vector (d,) float32 for each picture; what could not be opened stays as it is.

    A picture whose vector is not finite is BadRecord("model_error", ...) with its name of `names`.
    """
    opened = [picture for picture in pictures if not isinstance(picture, BadRecord)]
    vectors = iter(encoder.embed(opened) if opened else ())
    return [
        picture if isinstance(picture, BadRecord) else finite(next(vectors), name, encoder.name)
        for picture, name in zip(pictures, names, strict=True)
    ]


def finite(vector: Array, name: object, model: str) -> Array | BadRecord:
    """The vector (d,) that `model` gave for what is called `name`, unless there is no number."""
    if np.isfinite(vector).all():
        return vector
    return BadRecord("model_error", f"{model} gives no numbers for {name}")


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` values, the last one shorter."""
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch


def rounded(cosine: float) -> float:
    """A cosine as records hold it: within [-1, 1], 4 digits, never -0.0."""
    return round(min(1.0, max(-1.0, float(cosine))), 4) + 0.0


def nearest(queries: Array, bank: Array, k: int, barred: Barred = None) -> tuple[Array, Array]:
    """The k most similar rows of `bank` for each query.

    `queries` is (q, d) and `bank` (n, d), float32 with unit rows, so the inner product is the
    cosine; k is cut to n. `barred[i]` holds row numbers that query i must not find. Returns
    scores (q, k) float64, descending, and row numbers (q, k); equal scores go to the lower row.
    Where fewer than k rows are allowed, the places left over hold score -inf and row -1.
    An answer does not depend on the other queries. Raises MegastyleError if the widths differ.

    A float32 matrix product depends in its last bits on the shape of the block, so FAISS only
    screens: every row it could have misplaced is scored again in float64.
    """
    if queries.shape[1] != bank.shape[1]:
        raise MegastyleError(
            f"queries have {queries.shape[1]} dimensions, the index has {bank.shape[1]}",
            hint="build the index with the same --backend and --model",
        )
    k = min(k, len(bank))
    scores, rows = np.full((len(queries), k), -np.inf), np.full((len(queries), k), -1)
    open_, spare = np.arange(len(queries) if k else 0), SPARE
    while len(open_):
        ours = None if barred is None else [barred[int(i)] for i in open_]
        candidates, is_enough = _screen(queries[open_], bank, k, ours, spare)
        sure = open_[is_enough]
        scores[sure], rows[sure] = best_of(candidates[is_enough], queries[sure], bank, k)
        open_, spare = open_[~is_enough], 16 * spare
    return scores, rows


def best_of(candidates: Array, queries: Array, bank: Array, k: int) -> tuple[Array, Array]:
    """The k best of each query's `candidates` (q, c), row numbers or -1, by exact cosine.

    Returns scores (q, k) and rows (q, k) as `nearest` does.
    """
    missing = max(0, k - candidates.shape[1])
    rows = np.sort(np.pad(candidates, ((0, 0), (0, missing)), constant_values=-1), axis=1)
    scores = _exact(rows, queries, bank)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # rows ascend, and so does a tie
    return np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)


def without(found: Array, barred: Barred, num_rows: int) -> Array:
    """`found` (q, c) with -1 for the row numbers that `barred[i]` forbids query i to find."""
    if barred is None:
        return found
    forbidden = [np.asarray(rows, np.int64) + i * num_rows for i, rows in enumerate(barred)]
    numbered = found + np.arange(len(found))[:, None] * num_rows
    return np.where(np.isin(numbered, np.concatenate([*forbidden, []])), -1, found)


def _screen(queries: Array, bank: Array, k: int, barred: Barred, spare: int) -> tuple[Array, Array]:
    """Row numbers (q, c), or -1, and whether (q,) all that could be among the k best are there."""
    most_barred = 0 if barred is None else max(map(len, barred))
    with _matrix_products(MATRIX_QUERIES * queries.shape[1]):
        rough, found = faiss.knn(
            np.ascontiguousarray(queries, np.float32),
            np.ascontiguousarray(bank, np.float32),
            min(len(bank), k + spare + most_barred),
            faiss.METRIC_INNER_PRODUCT,
        )
    found = without(found, barred, len(bank))
    rough = np.where(found >= 0, rough, -np.inf)
    best = np.argsort(-rough, axis=1, kind="stable")[:, : k + spare]
    rough, found = np.take_along_axis(rough, best, axis=1), np.take_along_axis(found, best, axis=1)
    # twice the largest error of two sums of d products of unit rows in float32
    cut = rough[:, k - 1] - 2 * queries.shape[1] * np.finfo(np.float32).eps
    is_all = rough.shape[1] == len(bank)
    is_enough = np.isneginf(rough[:, -1]) | (rough[:, -1] < cut) | is_all
    return np.where(rough >= cut[:, None], found, -1), is_enough


@contextmanager
def _matrix_products(from_cells: int) -> Iterator[None]:
    # FAISS waits for 128,000 numbers; 32 queries of 768 take a sixth of the time as a matrix
    before = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = from_cells
    try:
        yield
    finally:
        faiss.cvar.distance_compute_blas_threshold = before


def _exact(rows: Array, queries: Array, bank: Array) -> Array:
    """The cosines (q, c) float64 of each query with its `rows`; -inf where the row is -1."""
    scores = np.full(rows.size, -np.inf)
    flat = rows.ravel()
    places = np.flatnonzero(flat >= 0)
    step = max(1, EXACT_CELLS // bank.shape[1])
    for start in range(0, len(places), step):
        part = places[start : start + step]
        ours = queries[part // rows.shape[1]].astype(np.float64)
        theirs = np.asarray(bank[flat[part]], np.float64)
        scores[part] = (ours * theirs).sum(axis=1)
    return scores.reshape(rows.shape)
