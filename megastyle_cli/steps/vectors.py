"""Vectors of pictures and their nearest rows: what `retrieve` and `eval` share."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from megastyle_cli.errors import BadRecord, MegastyleError
from megastyle_cli.models.backend import StyleEncoder
from megastyle_cli.record import Failure, Record
from megastyle_cli.steps.pictures import Read, pictures_of

if TYPE_CHECKING:
    from PIL.Image import Image

Array = np.ndarray[Any, np.dtype[Any]]
T = TypeVar("T")

BATCH = 32
SCREEN_CELLS = 2**24  # scores held at a time: 64 MiB


def embed_records(
    records: Iterable[Record], encoder: StyleEncoder, read: Read, key: str = "file_name"
) -> Iterator[tuple[Record, Array] | Failure]:
    """Each record with the unit vector (d,) of the picture its `key` names, or a Failure, in order.

    A Failure is `missing_key`, or what `read` says of the picture. Holds one batch at a time.
    """
    for batch in batched(records, BATCH):
        vectors = embed_pictures(pictures_of(batch, key, read), encoder)
        for record, vector in zip(batch, vectors, strict=True):
            if isinstance(vector, BadRecord):
                yield Failure(record, vector.kind, vector.message)
            else:
                yield record, vector


def embed_pictures(
    pictures: "Sequence[Image | BadRecord]", encoder: StyleEncoder
) -> list[Array | BadRecord]:
    """A unit vector (d,) float32 for each picture; what could not be opened stays as it is."""
    opened = [picture for picture in pictures if not isinstance(picture, BadRecord)]
    vectors = iter(encoder.embed(opened) if opened else ())
    return [picture if isinstance(picture, BadRecord) else next(vectors) for picture in pictures]


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` values, the last one shorter."""
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch


def rounded(cosine: float) -> float:
    """A cosine as records hold it: within [-1, 1], 4 digits, never -0.0."""
    return round(min(1.0, max(-1.0, float(cosine))), 4) + 0.0


def nearest(
    queries: Array, bank: Array, k: int, barred: Sequence[Sequence[int] | Array] | None = None
) -> tuple[Array, Array]:
    """The k most similar rows of `bank` for each query.

    `queries` is (q, d) and `bank` (n, d), float32 with unit rows, so the inner product is the
    cosine; k is cut to n. `barred[i]` holds row numbers that query i must not find. Returns
    scores (q, k) float64, descending, and row numbers (q, k); equal scores go to the lower row.
    Where fewer than k rows are allowed, the places left over hold score -inf and row -1.
    An answer does not depend on the other queries. Raises MegastyleError if the widths differ.
    """
    if queries.shape[1] != bank.shape[1]:
        raise MegastyleError(
            f"queries have {queries.shape[1]} dimensions, the index has {bank.shape[1]}",
            hint="build the index with the same --backend and --model",
        )
    k = min(k, len(bank))
    scores = np.full((len(queries), k), -np.inf)
    rows = np.full((len(queries), k), -1)
    if k == 0:
        return scores, rows
    block = max(1, SCREEN_CELLS // len(bank))
    for start in range(0, len(queries), block):
        screen = queries[start : start + block] @ bank.T  # (block, n)
        for i, rough in enumerate(screen, start):
            if barred is not None:
                rough[np.asarray(barred[i], int)] = -np.inf
            found, found_scores = _best(rough, queries[i], bank, k)
            rows[i, : len(found)] = found
            scores[i, : len(found)] = found_scores
    return scores, rows


def _best(rough: Array, query: Array, bank: Array, k: int) -> tuple[Array, Array]:
    """The k best allowed rows for one query (d,) and their exact scores; `rough` is (n,) float32.

    A float32 matrix product depends in its last bits on the shape of the block, so it only
    screens: every row it could have misplaced is scored again, alone, in float64.
    """
    doubt = 4 * len(query) * np.finfo(np.float32).eps
    cut = np.partition(rough, len(rough) - k)[len(rough) - k] - doubt
    candidates = np.flatnonzero((rough >= cut) & np.isfinite(rough))
    exact = (bank[candidates].astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    order = np.argsort(-exact, kind="stable")[:k]  # stable: candidates ascend, so does a tie
    return candidates[order], exact[order]
