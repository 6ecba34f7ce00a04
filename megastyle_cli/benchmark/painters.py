"""A painter's pictures, assigned to the queries of a benchmark by style and content."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from megastyle_cli.benchmark.pixel_hash import file_pixel_hash
from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Record
from megastyle_cli.evaluate.labels import label_of
from megastyle_cli.retrieval.embed import Array

# style and content
Cell = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class PaintedPictures:
    """The vectors of a painter's pictures for each query, by its row number in the benchmark.

    `per_query` pictures are expected for each query, the most that one has: one per seed.
    """

    vectors: Mapping[int, Sequence[Array]]
    per_query: int

    def as_queries(self, queries: Array, width: int) -> tuple[Array, Array]:
        """The query (p,) that each expected picture belongs to, and its vector (p, d), NaN if the
        picture is missing."""
        missing = np.full(width, np.nan)
        rows: list[Array] = []
        for query in queries.tolist():
            own = list(self.vectors.get(query, ()))
            rows += own + [missing] * (self.per_query - len(own))
        return np.repeat(queries, self.per_query), np.stack(rows)


def hash_painted(
    records: Sequence[Record], label: str, content_label: str, cells: Mapping[Cell, int], name: str
) -> tuple[dict[int, list[str]], dict[str, str], int]:
    """The pixel hashes of a painter's pictures by the query they are for, and a file for each hash.

    Records without a query of their style and content are counted in the third value. Pictures of
    one query are ordered by seed, then id; one that cannot be read is missing. Raises
    MegastyleError if no record fits a query of the benchmark.
    """
    wanted: dict[int, list[Record]] = {}
    for record in records:
        cell = (str(label_of(record, label)), str(label_of(record, content_label)))
        if cell in cells:
            wanted.setdefault(cells[cell], []).append(record)
    if not wanted:
        raise MegastyleError(
            f"no picture of {name} ({len(records):,} in all) has the style ({label}) and the"
            f" content ({content_label}) of a query",
            hint="give them the labels of the benchmark's records",
        )
    hashes: dict[int, list[str]] = {}
    files: dict[str, str] = {}
    for query, own in wanted.items():
        own.sort(key=lambda record: (str(record.get("seed", "")), str(record.get("id", ""))))
        hashes[query] = []
        for record in own:
            try:
                pixels = file_pixel_hash(str(record.get("file_name")))
            except BadRecord:
                pixels = ""
            hashes[query].append(pixels)
            if pixels:
                files[pixels] = str(record["file_name"])
    return hashes, files, len(records) - sum(map(len, wanted.values()))
