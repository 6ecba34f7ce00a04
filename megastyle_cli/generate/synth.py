"""Render pairs: the content of each in the style of each, one picture a record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Failure, Record, record_seed
from megastyle_cli.generate.filters import Filter
from megastyle_cli.generate.render import Save, render
from megastyle_cli.io.record_images import ReadPictures, open_record_pictures
from megastyle_cli.models.protocols import Painter, PictureRequest

if TYPE_CHECKING:
    from PIL.Image import Image

ROUNDS = 4  # batches whose prompts are encoded and sorted by length together


def synth(
    records: Iterable[Record],
    *,
    painter: Painter,
    read_content: ReadPictures | None,
    read_style: ReadPictures | None,
    save: Save,
    long_side_px: int | None,
    size_px: tuple[int, int] | None = None,
    strength: float = 1.0,
    seed: int,
    run: str,
    settings: Mapping[str, Any],
    requires_style: bool = False,
    filters: Sequence[Filter] = (),
) -> Iterator[Record | Failure]:
    """Adds `file_name`, `width`, `height` and `seed`: one result per record, in order.

    The painter gets a pair's texts and, of its two images, those that have a reader. `settings` go
    into each record's provenance. A missing style image fails the record if `requires_style` (a
    filter compares with it), else it is left to the painter. Rejected images are not saved.
    """
    batch = list(records)
    contents = _opened(batch, "content_file_name", read_content)
    styles = _opened(batch, "style_file_name", read_style)
    requests: list[PictureRequest | BadRecord] = []
    for record, content, style in zip(batch, contents, styles, strict=True):
        wrong = _unreadable(content, needed=False) or _unreadable(style, needed=requires_style)
        has_style = not isinstance(style, BadRecord) and style is not None
        requests.append(
            wrong
            or PictureRequest(
                content=record.get("content"),
                style=record.get("style"),
                content_picture=None if isinstance(content, BadRecord) else content,
                references=(style,) if not isinstance(style, BadRecord) and style else (),
                reference_keys=(record["style_file_name"],) if has_style else (),
                weights=(1.0,) if has_style else (),
                strength=strength,
                long_side=long_side_px,
                size_px=size_px,
                seed=record_seed(seed, record["id"]),
            )
        )
    facts: dict[str, Any] = {"model": painter.name, "run": run, **settings}
    return render(
        batch,
        requests,
        command="synth",
        paint=painter.paint,
        save=save,
        facts=facts,
        filters=filters,
    )


def _opened(
    records: Sequence[Record], key: str, read: ReadPictures | None
) -> Sequence[Image | BadRecord | None]:
    return [None] * len(records) if read is None else open_record_pictures(records, key, read)


def _unreadable(picture: Image | BadRecord | None, *, needed: bool) -> BadRecord | None:
    """Why a record cannot be painted: a picture that is there must open."""
    if isinstance(picture, BadRecord) and (needed or picture.kind != "missing_key"):
        return picture
    return None
