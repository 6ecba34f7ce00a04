"""An index of style vectors in memory: built from images, or opened from a saved index."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.failure_log import FailureLog
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.images import ImageReader
from megastyle_cli.io.inputs import read_records
from megastyle_cli.models.protocols import Ranks, StyleEncoder
from megastyle_cli.retrieval.artifact_cache import ArtifactCache
from megastyle_cli.retrieval.csls import CslsReranker, ExactCslsSearcher, bank_similarity
from megastyle_cli.retrieval.embed import (
    Array,
    check_unit_rows,
    embed_records,
    embed_share,
)
from megastyle_cli.retrieval.encoder_probe import check_same_encoder, embed_probe
from megastyle_cli.retrieval.index_file import SavedIndex, is_saved_index, read_index
from megastyle_cli.retrieval.nearest import ExactSearcher, Excluded, Searcher
from megastyle_cli.retrieval.row_lookup import RowLookup, digest_of, digest_of_identities

log = logging.getLogger(__name__)

T = TypeVar("T")
Method = Literal["exact", "ivf"]
Score = Literal["cosine", "csls"]


@dataclass(kw_only=True)
class StyleIndex:
    """Style vectors of images: row i of `vectors` (n, d) is `ids[i]` at `file_names[i]`.

    Rows are float32 unit vectors made by `model`. Raises MegastyleError if the parts do not fit
    each other or a row does not have length 1; of rows with a `lookup`, which were checked when it
    was written, those that are found are checked. `searcher` is exact, by cosine, until it is set.
    """

    vectors: Array
    ids: Sequence[str]
    file_names: Sequence[str]
    model: str
    lookup: RowLookup | None = None
    searcher: Searcher = field(init=False)

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.ids):
            raise MegastyleError(
                f"the index has {len(self.ids)} records for vectors of shape {self.vectors.shape}",
                hint="rebuild the index: its vectors and its records are from different runs",
            )
        if len(self.ids) != len(self.file_names):
            raise MegastyleError(
                f"the index has {len(self.ids)} ids but {len(self.file_names)} file names",
                hint="rebuild the index from records that have both",
            )
        if self.lookup is None:
            check_unit_rows(self.vectors)
        self.searcher = ExactSearcher(self.vectors)

    def search(self, queries: Array, k: int, excluded: Excluded = None) -> tuple[Array, Array]:
        """Scores (q, k), best first, and row numbers (q, k) for `queries` (q, d); where fewer than
        k rows are found, the rest hold score -inf and row -1."""
        scores, rows = self.searcher.search(queries, k, excluded)
        if self.lookup is not None:
            check_unit_rows(self.vectors, rows[rows >= 0])
        return scores, rows

    @cached_property
    def fingerprint(self) -> str:
        """The model and 8 hex digits of a hash over ids and vectors."""
        digest = self.lookup.digest if self.lookup else digest_of(self.ids, self.vectors)
        return f"{self.model}@{digest}"

    def rows_of(self, record_id: str) -> list[int]:
        """The rows of an id; equal images have equal ids, so there may be several."""
        if self.lookup is not None:
            return self.lookup.rows_of(record_id)
        return self._rows_by_id.get(record_id, [])

    @cached_property
    def _rows_by_id(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for row, record_id in enumerate(self.ids):
            rows.setdefault(record_id, []).append(row)
        return rows


@dataclass(frozen=True, kw_only=True)
class IndexSource:
    """The value of `--index`: a saved index, or records whose images are embedded when opened."""

    saved: SavedIndex | None
    records: Sequence[Record | Failure]

    @classmethod
    def find(cls, names: Sequence[str]) -> "IndexSource":
        """Raises MegastyleError if a name does not exist, a saved index is damaged, or there is
        another name beside it. Embeds nothing."""
        saved = [name for name in names if is_saved_index(name)]
        if saved and len(names) > 1:
            raise MegastyleError(
                f"{saved[0]} is a saved index and cannot be combined with other inputs",
                hint="give one --index, or --add the others to it",
            )
        if saved:
            return cls(saved=read_index(Path(saved[0])), records=())
        return cls(saved=None, records=list(read_records(names)))

    @property
    def fingerprint(self) -> str:
        """8 hex digits over the ids, in order: what a run that searches the index records of it.

        Equal for a saved index and the images it was made from, if their ids are hashes of them:
        the hash of an image counts too where a saved index holds one. Reads no vectors.
        """
        if self.saved is not None:
            return self.saved.identity
        records = (record for record in self.records if not isinstance(record, Failure))
        return digest_of_identities(record["id"] for record in records)

    def open(
        self,
        encoder: StyleEncoder,
        reader: ImageReader,
        method: Method,
        score: Score,
        ranks: Ranks | None = None,
    ) -> StyleIndex:
        """The index, searched by `method` and `score`.

        Expensive results are cached in the folder of a saved index. With `ranks` all processes of a
        launcher call it, and each embeds a share of the images. Raises MegastyleError if the
        encoder differs, or no image can be read.
        """
        cache = None
        if self.saved is None:
            build = partial(build_index, self.records, encoder, reader, ranks)
            work = partial(embed_share, encoder=encoder, reader=reader)
            index = build() if ranks is None else ranks.share(build, work)
        else:
            index = _open_saved(self.saved, encoder)
            self.saved.keep_lookup()
            cache = ArtifactCache(self.saved.folder, self.saved.header.generation)
        index.searcher = open_searcher(index.vectors, method, score, cache)
        return index


def build_index(
    records: Iterable[Record | Failure],
    encoder: StyleEncoder,
    reader: ImageReader,
    ranks: Ranks | None = None,
) -> StyleIndex:
    """An index of the records' images; those that cannot be read are logged and left out.

    With `ranks` all processes of a launcher embed. Raises MegastyleError if no image can be read.
    """
    failures, failure_log = list[Failure](), FailureLog("index")
    readable = _without_failures(records, failures, failure_log)
    results = embed_records(readable, encoder, reader, ranks)
    embedded = list(_without_failures(results, failures, failure_log))
    if not embedded:
        raise MegastyleError("no image of the index can be read", hint="check --index")
    if failures:
        total = len(failures) + len(embedded)
        log.warning("index: skipped %d of %d images", len(failures), total)
    return StyleIndex(
        vectors=np.stack([vector for _, vector in embedded]),
        ids=[record["id"] for record, _ in embedded],
        file_names=[record["file_name"] for record, _ in embedded],
        model=encoder.name,
    )


def open_searcher(
    vectors: Array, method: Method, score: Score, cache: ArtifactCache | None = None, seed: int = 0
) -> Searcher:
    """A searcher of `vectors` (n, d), unit rows.

    Expensive results are read from `cache` if they belong to these rows, and stored there.
    """
    if method == "exact":
        exact = ExactSearcher(vectors)
        if score == "cosine":
            return exact
        return ExactCslsSearcher(exact, bank_similarity(exact, vectors, cache))
    from megastyle_cli.retrieval.ann import open_ivf  # imports FAISS

    ivf = open_ivf(vectors, cache, seed)
    if score == "cosine":
        return ivf
    return CslsReranker(ivf, bank_similarity(ivf, vectors, cache))


def _open_saved(saved: SavedIndex, encoder: StyleEncoder) -> StyleIndex:
    header, probe = saved.header, embed_probe(encoder)
    check_same_encoder(str(saved.folder), header.encoder, header.probe, encoder, probe)
    return StyleIndex(
        vectors=saved.vectors,
        ids=saved.ids,
        file_names=saved.file_names,
        model=header.encoder,
        lookup=saved.lookup,
    )


def _without_failures(
    results: Iterable[T | Failure], failures: list[Failure], failure_log: FailureLog
) -> Iterator[T]:
    """The results that are not failures; the failures are logged and appended to `failures`."""
    for result in results:
        if isinstance(result, Failure):
            failures.append(result)
            failure_log.add(result)
        else:
            yield result
