"""Render pairs: the content of each in the style of each, one picture a record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from megastyle_cli.errors import BadRecord
from megastyle_cli.models.backend import Painter, PictureRequest
from megastyle_cli.record import Failure, Record, record_seed
from megastyle_cli.steps.pictures import Read, pictures_of
from megastyle_cli.steps.render import Save, render

if TYPE_CHECKING:
    from PIL.Image import Image


def synth(
    records: Iterable[Record],
    *,
    painter: Painter,
    read_content: Read,
    read_style: Read,
    save: Save,
    long_side_px: int,
    strength: float,
    seed: int,
    run: str,
) -> Iterator[Record | Failure]:
    """Adds `file_name`, `width`, `height` and `seed`, in order; pictures are saved by `save`.

    A pair's words go to the painter with its pictures; which it needs is the painter's to say.
    """
    batch = list(records)
    contents = pictures_of(batch, "content_file_name", read_content)
    styles = pictures_of(batch, "style_file_name", read_style)
    requests = [
        _request(record, content, style, long_side_px, strength, record_seed(seed, record["id"]))
        for record, content, style in zip(batch, contents, styles, strict=True)
    ]
    facts: dict[str, Any] = {"model": painter.name, "run": run, "strength": strength}
    return render(batch, requests, command="synth", paint=painter.paint, save=save, facts=facts)


def _request(
    record: Record,
    content: Image | BadRecord,
    style: Image | BadRecord,
    long_side_px: int,
    strength: float,
    seed: int,
) -> PictureRequest | BadRecord:
    for picture in (content, style):
        if isinstance(picture, BadRecord) and picture.kind != "missing_key":
            return picture
    has_style = not isinstance(style, BadRecord)
    return PictureRequest(
        content=record.get("content"),
        style=record.get("style"),
        content_picture=None if isinstance(content, BadRecord) else content,
        references=() if isinstance(style, BadRecord) else (style,),
        reference_keys=(record["style_file_name"],) if has_style else (),
        weights=(1.0,) if has_style else (),
        strength=strength,
        long_side=long_side_px,
        seed=seed,
    )
