"""Generated images to records: filtering, saving and metadata, for `synth` and `transfer`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Failure, Record, annotate, is_context_only
from megastyle_cli.generate.filters import Candidate, Filter, first_rejections
from megastyle_cli.models.protocols import PictureRequest

if TYPE_CHECKING:
    from PIL.Image import Image

Paint = Callable[[Sequence[PictureRequest]], "Sequence[Image | BadRecord]"]
Save = Callable[[str, "Image"], str]  # record id and picture to the picture's name


def render(
    records: Sequence[Record],
    requests: Sequence[PictureRequest | BadRecord],
    *,
    command: str,
    paint: Paint,
    save: Save,
    facts: dict[str, Any],
    filters: Sequence[Filter] = (),
) -> Iterator[Record | Failure]:
    """Generates the images of valid requests and adds `file_name`, `width`, `height`, `seed`.

    One result per record, in order. An image is saved before its record is yielded: a record
    implies its image. A rejected image is not saved; its record has `rejected` and `score` under
    `_megastyle.<command>`. The image of a company record is only shown to the filters.
    """
    generated = iter(paint([request for request in requests if not isinstance(request, BadRecord)]))
    images = [
        request if isinstance(request, BadRecord) else next(generated) for request in requests
    ]
    candidates = [
        Candidate(record, request, image)
        for record, request, image in zip(records, requests, images, strict=True)
        if not isinstance(image, BadRecord) and not isinstance(request, BadRecord)
    ]
    rejections = iter(first_rejections(candidates, filters))
    for record, request, image in zip(records, requests, images, strict=True):
        if isinstance(request, BadRecord):
            yield Failure(record, request.kind, request.message)
        elif isinstance(image, BadRecord):
            yield Failure(record, image.kind, f"record {record['id']}: {image.message}")
        elif rejection := next(rejections):
            rejected = {"rejected": rejection.reason, "score": rejection.score}
            yield annotate(record, command, **facts, **rejected, seed=request.seed)
        elif is_context_only(record):
            yield record
        else:
            yield annotate(
                {
                    **record,
                    "file_name": save(record["id"], image),
                    "width": image.width,
                    "height": image.height,
                    "seed": request.seed,
                },
                command,
                **facts,
            )
