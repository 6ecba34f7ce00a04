"""Nearest styles of an image, of the mean of several images, or of a text, in an index."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record, batched, bytes_id, canonical_json
from megastyle_cli.io.images import ImageReader
from megastyle_cli.models.protocols import StyleEncoder, TextEncoder
from megastyle_cli.retrieval.embed import Array, embed_records, finite_or_bad
from megastyle_cli.retrieval.style_index import StyleIndex

Embedded = tuple[Record, Array]

QUERIES = 1024  # searched at a time, if the caller gives that many


def check_text_encoder(encoder: StyleEncoder) -> None:
    """Raises MegastyleError unless `encoder` can compare images with texts."""
    if not isinstance(encoder, TextEncoder):
        raise MegastyleError(
            f"{encoder.name} cannot embed text queries: it has no text tower",
            hint="give --model of a complete SigLIP or CLIP, or search by image",
        )


def retrieve(
    records: Iterable[Record],
    *,
    index: StyleIndex,
    encoder: StyleEncoder,
    reader: ImageReader,
    k: int,
    keep_self: bool = False,
    text_key: str | None = None,
) -> Iterator[Record | Failure]:
    """Add `neighbors`: the k rows of `index` most similar to each record, best first, in order.

    A neighbor has `id`, `score` (4 digits; a cosine unless the index is searched by CSLS) and
    `file_name`. Rows with the record's own id are left out unless `keep_self`. The query is the
    text under `text_key` if that is given; else the image that `file_name` names, opened by
    `reader`; else the text under `text`. Text queries fail if the encoder is not a TextEncoder.
    """
    for batch in batched(_embed_queries(records, encoder, reader, text_key), QUERIES):
        embedded = [result for result in batch if not isinstance(result, Failure)]
        own_ids = [[] if keep_self else [record.get("id", "")] for record, _ in embedded]
        found = iter(_neighbors([vector for _, vector in embedded], own_ids, index, k))
        for result in batch:
            yield result if isinstance(result, Failure) else result[0] | {"neighbors": next(found)}


def retrieve_prototypes(
    records: Iterable[Record],
    *,
    index: StyleIndex,
    encoder: StyleEncoder,
    reader: ImageReader,
    k: int,
    keep_self: bool = False,
    text_key: str | None = None,
    by: str | None = None,
) -> Iterator[Record | Failure]:
    """One record for all `records`, or for each value of their key `by`, with the neighbors of
    their mean.

    The query is the mean of the unit vectors, divided by its length. The record has an `id` of its
    own, `by` with its value, `prototype_of` (ids), as `file_name` the member nearest to the mean,
    and `neighbors` without its members unless `keep_self`. Records that fail come first.
    """
    members: dict[Any, list[Embedded]] = {}
    for result in _embed_queries(records, encoder, reader, text_key):
        if isinstance(result, Failure):
            yield result
            continue
        value = result[0].get(by) if by else None
        if by and not isinstance(value, str | int):
            message = f"record {result[0]['id']} has no {by!r}"
            yield Failure(result[0], "missing_key", message)
            continue
        members.setdefault(value, []).append(result)
    prototypes = [
        _prototype(embedded, {by: value} if by else {}) for value, embedded in members.items()
    ]
    own_ids = [[] if keep_self else record["prototype_of"] for record, _ in prototypes]
    found = _neighbors([mean for _, mean in prototypes], own_ids, index, k)
    for (record, _), neighbors in zip(prototypes, found, strict=True):
        yield record | {"neighbors": neighbors}


def _prototype(embedded: list[Embedded], group: Record) -> Embedded:
    """A record and the unit mean (d,) of some records and their vectors; `group` is added to it."""
    vectors = np.stack([vector for _, vector in embedded]).astype(np.float64)
    total = vectors.sum(axis=0)
    mean = total / max(float(np.linalg.norm(total)), np.finfo(np.float64).tiny)
    ids = [record["id"] for record, _ in embedded]
    most_typical = embedded[int((vectors @ mean).argmax())][0]
    record = {"id": bytes_id(canonical_json([*group.values(), *sorted(ids)]).encode()), **group}
    if "file_name" in most_typical:
        record["file_name"] = most_typical["file_name"]
    return record | {"prototype_of": ids}, mean.astype(np.float32)


def _embed_queries(
    records: Iterable[Record], encoder: StyleEncoder, reader: ImageReader, text_key: str | None
) -> Iterator[Embedded | Failure]:
    """Each record with the unit vector (d,) of its image or text, or a Failure, in order."""
    for batch in batched(records, QUERIES):
        texts = [_query_text(record, text_key) for record in batch]
        image_records = [r for r, text in zip(batch, texts, strict=True) if text is None]
        by_image = iter(embed_records(image_records, encoder, reader))
        by_text = iter(_embed_texts([text for text in texts if isinstance(text, str)], encoder))
        for record, text in zip(batch, texts, strict=True):
            if text is None:
                yield next(by_image)
                continue
            vector = next(by_text) if isinstance(text, str) else text
            if isinstance(vector, BadRecord):
                yield Failure.of(record, vector)
            else:
                yield record, vector


def _query_text(record: Record, text_key: str | None) -> str | BadRecord | None:
    """The text of a text query; None if the query is an image."""
    if text_key is None and (record.get("file_name") is not None or "text" not in record):
        return None
    text = record.get(text_key or "text")
    if isinstance(text, str) and text.strip():
        return text
    return BadRecord(
        "missing_key", f"record {record['id']} has no text under {text_key or 'text'!r}"
    )


def _embed_texts(texts: Sequence[str], encoder: StyleEncoder) -> list[Array | BadRecord]:
    """The unit vector (d,) of each text in the space of the images, or why it has none."""
    if not isinstance(encoder, TextEncoder):
        needs = f"{encoder.name} has no text tower: give --model of a complete SigLIP or CLIP"
        return [
            BadRecord("model_error", f"the query {text!r} is a text, but {needs}") for text in texts
        ]
    rows = encoder.embed_texts(texts) if texts else ()
    return [
        finite_or_bad(row, repr(text), encoder.name) for row, text in zip(rows, texts, strict=True)
    ]


def _neighbors(
    vectors: list[Array], own_ids: list[list[str]], index: StyleIndex, k: int
) -> list[list[dict[str, Any]]]:
    """The `neighbors` of each vector, without the rows of its own ids."""
    if not vectors:
        return []
    excluded = [[row for own in ids for row in index.rows_of(own)] for ids in own_ids]
    scores, rows = index.search(np.stack(vectors), k, excluded if any(excluded) else None)
    return [
        [
            {
                "id": index.ids[row],
                "score": round(score, 4) + 0.0,
                "file_name": index.file_names[row],
            }
            for score, row in zip(*found, strict=True)
            if row >= 0
        ]
        for found in zip(scores.tolist(), rows.tolist(), strict=True)
    ]
