"""Describe pictures: a style sentence, its attributes and the content, beside what was known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from megastyle_cli.core.choices import CaptionKind, StyleSchema
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Failure, Record, annotate
from megastyle_cli.core.style import (
    ATTRIBUTE_KEYS,
    StyleAttributes,
    attribute_keys,
    style_sentence,
)
from megastyle_cli.io.record_images import ReadPictures, open_record_pictures
from megastyle_cli.models.protocols import Captioner, Description

if TYPE_CHECKING:
    from PIL.Image import Image


def caption(
    records: Iterable[Record],
    *,
    captioner: Captioner,
    read: ReadPictures,
    kind: CaptionKind,
    schema: StyleSchema,
    run: str,
) -> Iterator[Record | Failure]:
    """Adds `style`, the `style_*` attributes that were seen and `content`, in order.

    A `content` that the record brings is kept: a person's label beats a guess. What was not seen
    is absent, also where an earlier captioner had seen it.
    """
    batch = list(records)
    pictures = open_record_pictures(batch, "file_name", read)
    questions = [_open_question(record, kind) for record in batch]
    seen = _described(captioner, pictures, questions)
    for record, picture, description in zip(batch, pictures, seen, strict=True):
        if isinstance(picture, BadRecord):
            yield Failure(record, picture.kind, picture.message)
        elif isinstance(description, BadRecord):
            about = f"{record['file_name']}: {description.message}"
            yield Failure(record, description.kind, about)
        else:
            yield with_description(record, description, schema, captioner.name, run)


def _open_question(record: Record, kind: CaptionKind) -> CaptionKind | None:
    """What is left to ask of the picture, given what the record already says."""
    if kind == "style" or not record.get("content"):
        return kind
    return "style" if kind == "both" else None


def _described(
    captioner: Captioner,
    pictures: Sequence[Image | BadRecord],
    questions: Sequence[CaptionKind | None],
) -> list[Description | BadRecord]:
    """A description for each picture, in order; an empty one where there is nothing to ask."""
    descriptions: list[Description | BadRecord] = [Description()] * len(pictures)
    for question in {asked for asked in questions if asked is not None}:
        rows, asked = [], []
        for row, picture in enumerate(pictures):
            if questions[row] == question and not isinstance(picture, BadRecord):
                rows.append(row)
                asked.append(picture)
        for row, description in zip(rows, captioner.describe(asked, question), strict=True):
            descriptions[row] = description
    return descriptions


def with_description(
    record: Record, seen: Description, schema: StyleSchema, model: str, run: str
) -> Record:
    """The record with what was seen, and a note of who saw it and how surely."""
    told = dict(record)
    if seen.style is not None or seen.sentence is not None:
        attributes = seen.style or StyleAttributes()
        told = {key: value for key, value in record.items() if key not in ATTRIBUTE_KEYS}
        told["style"] = seen.sentence or style_sentence(attributes, schema)
        told |= attribute_keys(attributes)
    if seen.content is not None:
        told["content"] = seen.content
    facts: dict[str, Any] = {"model": model, "run": run, **seen.notes}
    if seen.confidence:
        facts["confidence"] = {name: round(sure, 2) for name, sure in seen.confidence.items()}
    return annotate(told, "caption", **facts)
