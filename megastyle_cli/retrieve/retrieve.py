"""Nearest styles of a picture, of several, or of words, in an index of style vectors."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record, bytes_id, canonical_json
from megastyle_cli.io.record_images import ReadPictures
from megastyle_cli.models.protocols import StyleEncoder, TextEncoder
from megastyle_cli.retrieve.ann import Search, exact
from megastyle_cli.retrieve.nearest import Array, batched, embed_records, finite

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")
Seen = tuple[Record, Array]

log = logging.getLogger(__name__)
UNIT_TOLERANCE = 1e-3
SAME_COSINE = 0.9999
QUERIES = 1024  # looked up at once, if the caller gives so many
BLOCK = 65536


@dataclass(frozen=True, kw_only=True)
class Index:
    """Style vectors and whose they are: row i of `vectors` (n, d) is `ids[i]` at `file_names[i]`.

    Rows are float32 unit vectors made by `model`. Raises MegastyleError if the parts do not fit
    each other or a row is not of length 1.
    """

    vectors: Array
    ids: list[str]
    file_names: Sequence[str]
    model: str

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.ids):
            raise MegastyleError(
                f"the index has {len(self.ids)} records for vectors of shape {self.vectors.shape}",
                hint="build the index again: its vectors and its records belong to different runs",
            )
        if len(self.ids) != len(self.file_names):
            raise MegastyleError(
                f"the index has {len(self.ids)} ids and {len(self.file_names)} file names",
                hint="build the index again from records that have both",
            )
        lengths = _lengths(self.vectors)
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
        digest.update(np.ascontiguousarray(self.vectors).data)
        return f"{self.model}@{digest.hexdigest()[:8]}"

    @cached_property
    def rows_of(self) -> dict[str, list[int]]:
        """The rows of each id; equal pictures have equal ids, so there may be several."""
        rows: dict[str, list[int]] = {}
        for row, record_id in enumerate(self.ids):
            rows.setdefault(record_id, []).append(row)
        return rows


def build_index(
    records: Iterable[Record | Failure], encoder: StyleEncoder, read: ReadPictures
) -> Index:
    """The index of the records' pictures; those that cannot be read are said and left out.

    Raises MegastyleError if none can be read.
    """
    lost: Counter[str] = Counter()
    kept = list(_readable(embed_records(_readable(records, lost), encoder, read), lost))
    if not kept:
        raise MegastyleError("the index holds no picture that can be read", hint="check --index")
    if lost:
        log.warning("index: %d of %d pictures are left out", lost.total(), lost.total() + len(kept))
    return Index(
        vectors=np.stack([vector for _, vector in kept]),
        ids=[record["id"] for record, _ in kept],
        file_names=[record["file_name"] for record, _ in kept],
        model=encoder.name,
    )


def index_rows(
    records: Iterable[Record], encoder: StyleEncoder, read: ReadPictures
) -> Iterator[Record | Failure]:
    """What a saved index keeps of each record: `id`, `file_name` and `vector` (d,), in order."""
    for result in embed_records(records, encoder, read):
        if isinstance(result, Failure):
            yield result
        else:
            record, vector = result
            yield {"id": record["id"], "file_name": record["file_name"], "vector": vector}


def probe(encoder: StyleEncoder, picture: "Image") -> Array:
    """The vector (d,) that an index keeps of a fixed picture, to know its encoder by."""
    return np.asarray(encoder.embed([picture])[0])


def check_same_encoder(
    where: str, made_by: str, known: Sequence[float], encoder: StyleEncoder, seen: Array
) -> None:
    """Raises MegastyleError unless `encoder` is the one that made the index at `where`.

    `made_by` is the index's encoder and `known` its vector of the probe picture, `seen` the vector
    of that picture by `encoder`. A name may differ before its fingerprint: a folder was moved.
    """
    same_name = made_by.rpartition("@")[2] == encoder.name.rpartition("@")[2]
    same_width = len(known) == len(seen)
    if same_name and same_width and float(np.dot(known, seen)) >= SAME_COSINE:
        return
    sentence = f"{where} was made by {made_by}, and this is {encoder.name}"
    if not same_width:
        sentence += f": {len(known)} and {len(seen)} dimensions"
    elif same_name:
        sentence += ", which now sees the same picture differently"
    raise MegastyleError(sentence, hint="give the index's own --backend and --model, or build anew")


def check_text_side(encoder: StyleEncoder) -> None:
    """Raises MegastyleError unless `encoder` can compare pictures with texts."""
    if not isinstance(encoder, TextEncoder):
        raise MegastyleError(
            f"the encoder {encoder.name} has no text side, and a query is a text",
            hint="give --model of a whole SigLIP or CLIP, or query by picture",
        )


def retrieve(
    records: Iterable[Record],
    *,
    index: Index,
    encoder: StyleEncoder,
    read: ReadPictures,
    k: int,
    keep_self: bool = False,
    search: Search | None = None,
    text_key: str | None = None,
) -> Iterator[Record | Failure]:
    """Add `neighbors`: the k rows of `index` most like the record, best first, in order.

    A neighbor has `id`, `score` (4 digits; a cosine unless `search` gives another) and `file_name`.
    Rows with the record's own id are left out unless `keep_self`. A record is asked for by the
    picture its `file_name` names, opened by `read`; by its text under `text_key` if that is given;
    by `text` if it names no picture. What is asked for in words fails if the encoder has no
    TextEncoder.
    """
    for batch in batched(_embedded(records, encoder, read, text_key), QUERIES):
        seen = [result for result in batch if not isinstance(result, Failure)]
        own = [[] if keep_self else [record.get("id", "")] for record, _ in seen]
        found = iter(_neighbors([vector for _, vector in seen], own, index, k, search))
        for result in batch:
            yield result if isinstance(result, Failure) else result[0] | {"neighbors": next(found)}


def retrieve_prototypes(
    records: Iterable[Record],
    *,
    index: Index,
    encoder: StyleEncoder,
    read: ReadPictures,
    k: int,
    keep_self: bool = False,
    search: Search | None = None,
    text_key: str | None = None,
    by: str | None = None,
) -> Iterator[Record | Failure]:
    """One record for all `records`, or for each value of their key `by`: what their mean is near.

    The mean of the unit vectors, divided by its length, is the query. The record has an `id` of its
    own, `by` with its value, `prototype_of` (ids), as `file_name` the member nearest to the mean,
    and `neighbors` without its members unless `keep_self`. Records that fail come first.
    """
    members: dict[Any, list[Seen]] = {}
    for result in _embedded(records, encoder, read, text_key):
        if isinstance(result, Failure):
            yield result
            continue
        value = result[0].get(by) if by else None
        if by and not isinstance(value, str | int):
            sentence = f"record {result[0]['id']} has no {by!r} to belong to"
            yield Failure(result[0], "missing_key", sentence)
            continue
        members.setdefault(value, []).append(result)
    prototypes = [_prototype(seen, {by: value} if by else {}) for value, seen in members.items()]
    own = [[] if keep_self else record["prototype_of"] for record, _ in prototypes]
    found = _neighbors([mean for _, mean in prototypes], own, index, k, search)
    for (record, _), neighbors in zip(prototypes, found, strict=True):
        yield record | {"neighbors": neighbors}


def _prototype(seen: list[Seen], told: Record) -> Seen:
    """The record and the unit mean (d,) of some records and their vectors."""
    vectors = np.stack([vector for _, vector in seen]).astype(np.float64)
    total = vectors.sum(axis=0)
    mean = total / max(float(np.linalg.norm(total)), np.finfo(np.float64).tiny)
    ids = [record["id"] for record, _ in seen]
    most_typical = seen[int((vectors @ mean).argmax())][0]
    record = {"id": bytes_id(canonical_json([*told.values(), *sorted(ids)]).encode()), **told}
    if "file_name" in most_typical:
        record["file_name"] = most_typical["file_name"]
    return record | {"prototype_of": ids}, mean.astype(np.float32)


def _embedded(
    records: Iterable[Record], encoder: StyleEncoder, read: ReadPictures, text_key: str | None
) -> Iterator[Seen | Failure]:
    """Each record with the unit vector (d,) of its picture or words, or a Failure, in order."""
    for batch in batched(records, QUERIES):
        words = [_words(record, text_key) for record in batch]
        pictured = [record for record, text in zip(batch, words, strict=True) if text is None]
        by_picture = iter(embed_records(pictured, encoder, read))
        by_text = iter(_text_vectors([text for text in words if isinstance(text, str)], encoder))
        for record, text in zip(batch, words, strict=True):
            if text is None:
                yield next(by_picture)
                continue
            vector = next(by_text) if isinstance(text, str) else text
            if isinstance(vector, BadRecord):
                yield Failure(record, vector.kind, vector.message)
            else:
                yield record, vector


def _words(record: Record, text_key: str | None) -> str | BadRecord | None:
    """The text a record is asked for by, None if by its picture."""
    if text_key is None and (record.get("file_name") is not None or "text" not in record):
        return None
    text = record.get(text_key or "text")
    if isinstance(text, str) and text.strip():
        return text
    return BadRecord(
        "missing_key", f"record {record['id']} has no text under {text_key or 'text'!r}"
    )


def _text_vectors(texts: Sequence[str], encoder: StyleEncoder) -> list[Array | BadRecord]:
    """The unit vector (d,) of each text in the space of the pictures, or why there is none."""
    if not isinstance(encoder, TextEncoder):
        needs = f"{encoder.name} has no text side: give --model of a whole SigLIP or CLIP"
        return [BadRecord("model_error", f"{text!r} is a text, and {needs}") for text in texts]
    rows = encoder.embed_texts(texts) if texts else ()
    return [finite(row, repr(text), encoder.name) for row, text in zip(rows, texts, strict=True)]


def _neighbors(
    vectors: list[Array], own: list[list[str]], index: Index, k: int, search: Search | None
) -> list[list[dict[str, Any]]]:
    """The `neighbors` of each vector, without the rows of the ids it owns."""
    if not vectors:
        return []
    look_up = search or exact(index.vectors)
    barred = [[row for each in ids for row in index.rows_of.get(each, [])] for ids in own]
    scores, rows = look_up(np.stack(vectors), k, barred if any(barred) else None)
    return [
        [
            {
                "id": index.ids[row],
                "score": round(score, 4) + 0.0,
                "file_name": index.file_names[row],
            }
            for score, row in zip(*places, strict=True)
            if row >= 0
        ]
        for places in zip(scores.tolist(), rows.tolist(), strict=True)
    ]


def _lengths(vectors: Array) -> Array:
    """The length (n,) of each row, a block at a time: there may be more than the memory holds."""
    starts = range(0, len(vectors), BLOCK)
    blocks = [vectors[start : start + BLOCK] for start in starts]
    return np.concatenate([np.zeros(0), *(np.linalg.norm(block, axis=1) for block in blocks)])


def _readable(found: Iterable[T | Failure], lost: Counter[str]) -> Iterator[T]:
    """What is no failure; the failures are said and counted."""
    for result in found:
        if isinstance(result, Failure):
            lost[result.kind] += 1
            log.warning("index: %s", result.message)
        else:
            yield result
