"""Unit vectors of images by a style encoder, with a reason for each image that has none."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record, batched
from megastyle_cli.io.images import ImageReader
from megastyle_cli.io.read_ahead import read_ahead
from megastyle_cli.models.protocols import Ranks, StyleEncoder

if TYPE_CHECKING:
    from PIL.Image import Image

Array = np.ndarray[Any, np.dtype[Any]]

BATCH = 32
BATCH_AHEAD = 64  # two of them are decoded at a time: 0.4 GB at 1024 px
SHARE = 512  # images of a process at a time, where it reads ahead within them
UNIT_TOLERANCE = 1e-3
ROWS = 65536  # whose lengths are computed at a time


def embed_records(
    records: Iterable[Record],
    encoder: StyleEncoder,
    reader: ImageReader,
    ranks: Ranks | None = None,
) -> Iterator[tuple[Record, Array] | Failure]:
    """Each record with the unit vector (d,) of its `file_name`, or a Failure, in order.

    A Failure is `missing_key`, the reason `reader` gives, or `model_error` if the vector is not
    finite. Holds one batch at a time, and the next if the encoder computes on a device. With
    `ranks` each process of a launcher opens and embeds a share of a batch, by `embed_share`.
    """
    is_ahead = computes_on_device(encoder)
    batches = batched(records, batch_size(is_ahead=is_ahead, ranks=ranks))
    if ranks is None:
        embedded = _embed_batches(batches, encoder, reader)
    else:
        embedded = ((batch, ranks.map([*map(_named, batch)])) for batch in batches)
    for batch, vectors in embedded:
        for record, vector in zip(batch, vectors, strict=True):
            if isinstance(vector, BadRecord):
                yield Failure.of(record, vector)
            else:
                yield record, vector


def embed_share(
    records: Sequence[Record], how: None, *, encoder: StyleEncoder, reader: ImageReader
) -> list[Array | BadRecord]:
    """The vectors (d,) of one process's share of `embed_records`, in order: a work of `Ranks`."""
    size = batch_size(is_ahead=computes_on_device(encoder))
    batches = _embed_batches(batched(records, size), encoder, reader)
    return [vector for _, vectors in batches for vector in vectors]


def batch_size(*, is_ahead: bool, ranks: Ranks | None = None) -> int:
    """How many images are embedded together: as many as the processes of `ranks` share."""
    if ranks is None:
        return BATCH_AHEAD if is_ahead else BATCH
    return ranks.world * (SHARE if is_ahead else BATCH)


def _embed_batches(
    batches: Iterable[list[Record]], encoder: StyleEncoder, reader: ImageReader
) -> Iterator[tuple[list[Record], list[Array | BadRecord]]]:
    """Each batch with the vectors of its records."""
    read = partial(reader.read_key, key="file_name")
    for batch, images in read_ahead(batches, read, is_ahead=computes_on_device(encoder)):
        names = [record.get("file_name") for record in batch]
        yield batch, embed_images(images, names, encoder)


def _named(record: Record) -> Record:
    """What another process needs of a record: its image, and its id for messages."""
    return {key: record[key] for key in ("id", "file_name") if key in record}


def computes_on_device(encoder: StyleEncoder) -> bool:
    """Whether images should be decoded ahead, since a device computes meanwhile."""
    return getattr(encoder, "batch_size", 1) > 1


def embed_images(
    images: "Sequence[Image | BadRecord]", names: Sequence[object], encoder: StyleEncoder
) -> list[Array | BadRecord]:
    """A unit vector (d,) float32 for each image; a BadRecord in place of an image stays.

    An image whose vector is not finite becomes BadRecord("model_error", ...) with its name.
    """
    opened = [image for image in images if not isinstance(image, BadRecord)]
    vectors = iter(encoder.embed(opened) if opened else ())
    return [
        image if isinstance(image, BadRecord) else finite_or_bad(next(vectors), name, encoder.name)
        for image, name in zip(images, names, strict=True)
    ]


def finite_or_bad(vector: Array, name: object, model: str) -> Array | BadRecord:
    """`vector` (d,), or a BadRecord if it is not finite; `name` and `model` go in its message."""
    if np.isfinite(vector).all():
        return vector
    return BadRecord("model_error", f"{model} returned values that are not finite for {name}")


def rounded(cosine: float) -> float:
    """A cosine as records hold it: clipped to [-1, 1], 4 digits, never -0.0."""
    return round(min(1.0, max(-1.0, float(cosine))), 4) + 0.0


def check_unit_rows(vectors: Array, rows: Array | None = None) -> None:
    """Raises MegastyleError if one of `vectors` (n, d), or of their `rows`, does not have length 1.

    By blocks: the vectors may be larger than memory.
    """
    chosen = np.arange(len(vectors)) if rows is None else rows
    for start in range(0, len(chosen), ROWS):
        some = chosen[start : start + ROWS]
        block = vectors[start : start + ROWS] if rows is None else vectors[some]
        lengths = np.linalg.norm(block, axis=1)
        wrong = np.flatnonzero(~(np.abs(lengths - 1) <= UNIT_TOLERANCE))  # NaN is wrong too
        if len(wrong):
            raise MegastyleError(
                f"row {some[wrong[0]]} of the index has norm {lengths[wrong[0]]:.4g}, not 1",
                hint="normalize the style vectors",
            )
