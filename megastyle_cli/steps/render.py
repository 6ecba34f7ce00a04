"""Requests to pictures: what `synth` and `transfer` share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from megastyle_cli.errors import BadRecord
from megastyle_cli.models.backend import PictureRequest
from megastyle_cli.record import Failure, Record, note

if TYPE_CHECKING:
    from PIL.Image import Image

Paint = Callable[[Sequence[PictureRequest]], "list[Image]"]
Save = Callable[[str, "Image"], str]  # record id and picture to the picture's name


def render(
    records: Sequence[Record],
    requests: Sequence[PictureRequest | BadRecord],
    *,
    command: str,
    paint: Paint,
    save: Save,
    facts: dict[str, Any],
) -> Iterator[Record | Failure]:
    """Paints what can be asked for and adds `file_name`, `width`, `height`, `seed`, in order.

    A picture is saved before its record is yielded: a record implies its picture.
    """
    painted = iter(paint([asked for asked in requests if not isinstance(asked, BadRecord)]))
    for record, asked in zip(records, requests, strict=True):
        if isinstance(asked, BadRecord):
            yield Failure(record, asked.kind, asked.message)
            continue
        picture = next(painted)
        made = {
            "file_name": save(record["id"], picture),
            "width": picture.width,
            "height": picture.height,
            "seed": asked.seed,
        }
        yield note({**record, **made}, command, **facts)
