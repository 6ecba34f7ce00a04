"""Filters and saves generated images and adds their metadata, for `synth` and `transfer`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any, Protocol

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Failure, Record, annotate, is_context_only
from megastyle_cli.generate.filters import Candidate, Filter, first_rejections
from megastyle_cli.models.protocols import PictureRequest

if TYPE_CHECKING:
    from PIL.Image import Image


class ImageStore(Protocol):
    """Where generated images are saved."""

    def save_image(self, record_id: str, image: Image, source: object = None) -> str:
        """Saves the image generated for this id; returns its file name.

        `source` is the `file_name` that the record was read with, if it had one.
        """


def valid_requests(requests: Iterable[PictureRequest | BadRecord]) -> list[PictureRequest]:
    """The requests an image can be generated for, in order."""
    return [request for request in requests if not isinstance(request, BadRecord)]


def filter_and_save(
    records: Sequence[Record],
    requests: Sequence[PictureRequest | BadRecord],
    images: Iterable[Image | BadRecord],
    *,
    command: str,
    store: ImageStore,
    metadata: Mapping[str, Any],
    as_read: Sequence[Record] | None = None,
    filters: Sequence[Filter] = (),
) -> Iterator[Record | Failure]:
    """Adds `file_name`, `width`, `height` and `seed`: one result per record, in order.

    `images` are those of the valid requests. An image is saved before its record is yielded: a
    record implies its image. A rejected image is not saved; its record has `rejected` and `score`
    beside `metadata` under `_megastyle.<command>`. A record that is context only is returned as it
    is: its image is only for the filters to compare others with. `as_read` are the records before
    the step changed them: these fail, and their `file_name` names the image. Images that are no
    list are saved one by one, as they are made, unless a filter judges groups.
    """
    as_read = records if as_read is None else as_read
    generated = iter(images)
    is_whole = isinstance(images, Sized) or any(one.judges_groups for one in filters)
    size = max(1, len(records)) if is_whole else 1
    for start in range(0, len(records), size):
        some = slice(start, start + size)
        yield from _filter_and_save(
            records[some],
            requests[some],
            [one if isinstance(one, BadRecord) else next(generated) for one in requests[some]],
            command=command,
            store=store,
            metadata=metadata,
            as_read=as_read[some],
            filters=filters,
        )


def _filter_and_save(
    records: Sequence[Record],
    requests: Sequence[PictureRequest | BadRecord],
    results: Sequence[Image | BadRecord],
    *,
    command: str,
    store: ImageStore,
    metadata: Mapping[str, Any],
    as_read: Sequence[Record],
    filters: Sequence[Filter],
) -> Iterator[Record | Failure]:
    """`filter_and_save` of records whose images are made."""
    candidates = [
        Candidate(record, request, image)
        for record, request, image in zip(records, requests, results, strict=True)
        if not isinstance(request, BadRecord) and not isinstance(image, BadRecord)
    ]
    rejections = iter(first_rejections(candidates, filters))
    for given, record, request, image in zip(as_read, records, requests, results, strict=True):
        if isinstance(request, BadRecord):
            yield Failure.of(given, request)
        elif isinstance(image, BadRecord):
            yield Failure(given, image.kind, f"record {record['id']}: {image.message}")
        elif rejection := next(rejections):
            rejected = {"rejected": rejection.reason, "score": rejection.score}
            yield annotate(record, command, **metadata, **rejected, seed=request.seed)
        elif is_context_only(record):
            yield record
        else:
            added = {
                "file_name": store.save_image(record["id"], image, given.get("file_name")),
                "width": image.width,
                "height": image.height,
                "seed": request.seed,
            }
            yield annotate({**record, **added}, command, **metadata)
