"""Nearest styles of a picture in an index of style vectors."""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from megastyle_cli.errors import MegastyleError
from megastyle_cli.models.backend import StyleEncoder
from megastyle_cli.record import Failure, Record, canonical_json
from megastyle_cli.steps.pictures import Read
from megastyle_cli.steps.vectors import BATCH, Array, batched, embed_records, nearest, rounded

T = TypeVar("T")

log = logging.getLogger(__name__)
UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Index:
    """Style vectors and whose they are: row i of `vectors` (n, d) is `ids[i]` at `file_names[i]`.

    Rows are float32 unit vectors made by `model`. Raises MegastyleError if the parts do not fit
    each other or a row is not of length 1.
    """

    vectors: Array
    ids: list[str]
    file_names: list[str]
    model: str

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.ids):
            raise MegastyleError(
                f"the index has {len(self.ids)} records for vectors of shape {self.vectors.shape}",
                hint="build the index again: its .npy and its records belong to different runs",
            )
        if len(self.ids) != len(self.file_names):
            raise MegastyleError(
                f"the index has {len(self.ids)} ids and {len(self.file_names)} file names",
                hint="build the index again from records that have both",
            )
        lengths = np.linalg.norm(self.vectors, axis=1)
        wrong = np.flatnonzero(~(np.abs(lengths - 1) <= UNIT_TOLERANCE))  # NaN is wrong too
        if len(wrong):
            raise MegastyleError(
                f"row {wrong[0]} of the index has length {lengths[wrong[0]]:.4g}, not 1",
                hint="give style vectors divided by their length",
            )

    @cached_property
    def fingerprint(self) -> str:
        """The model and 8 hex digits of a hash over ids and vectors."""
        digest = hashlib.sha256(canonical_json(self.ids).encode())
        digest.update(self.vectors.tobytes())
        return f"{self.model}@{digest.hexdigest()[:8]}"

    @cached_property
    def rows_of(self) -> dict[str, list[int]]:
        """The rows of each id; equal pictures have equal ids, so there may be several."""
        rows: dict[str, list[int]] = {}
        for row, record_id in enumerate(self.ids):
            rows.setdefault(record_id, []).append(row)
        return rows


def build_index(records: Iterable[Record | Failure], encoder: StyleEncoder, read: Read) -> Index:
    """The index of the records' pictures; those that cannot be read are said and left out.

    Raises MegastyleError if none can be read.
    """
    kept = list(_readable(embed_records(_readable(records), encoder, read)))
    if not kept:
        raise MegastyleError("the index holds no picture that can be read", hint="check --index")
    return Index(
        vectors=np.stack([vector for _, vector in kept]),
        ids=[record["id"] for record, _ in kept],
        file_names=[record["file_name"] for record, _ in kept],
        model=encoder.name,
    )


def retrieve(
    records: Iterable[Record],
    *,
    index: Index,
    encoder: StyleEncoder,
    read: Read,
    k: int,
    keep_self: bool,
) -> Iterator[Record | Failure]:
    """Add `neighbors`: the k rows of `index` most like the record's picture, best first, in order.

    A neighbor has `id`, `score` (cosine, 4 digits) and `file_name`. Rows with the record's own id
    are left out unless `keep_self`. The picture is the record's `file_name`, opened by `read`.
    """
    for batch in batched(embed_records(records, encoder, read), BATCH):
        seen = [result for result in batch if not isinstance(result, Failure)]
        found = iter(_neighbors(seen, index, k, keep_self))
        for result in batch:
            yield result if isinstance(result, Failure) else result[0] | {"neighbors": next(found)}


def _neighbors(
    seen: list[tuple[Record, Array]], index: Index, k: int, keep_self: bool
) -> list[list[dict[str, Any]]]:
    """The `neighbors` of each record and its vector."""
    if not seen:
        return []
    barred = [
        [] if keep_self else index.rows_of.get(record.get("id", ""), []) for record, _ in seen
    ]
    scores, rows = nearest(np.stack([vector for _, vector in seen]), index.vectors, k, barred)
    return [
        [
            {"id": index.ids[row], "score": rounded(score), "file_name": index.file_names[row]}
            for score, row in zip(*places, strict=True)
            if row >= 0
        ]
        for places in zip(scores, rows, strict=True)
    ]


def _readable(found: Iterable[T | Failure]) -> Iterator[T]:
    """What is no failure; the failures are said."""
    for result in found:
        if isinstance(result, Failure):
            log.warning("index: %s", result.message)
        else:
            yield result
