"""Adds a style sentence, its attributes and the content of the image to each record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
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
from megastyle_cli.models.protocols import Captioner, Description
from megastyle_cli.runner.signals import NEVER, StopSignal

if TYPE_CHECKING:
    from PIL.Image import Image

    from megastyle_cli.io.images import ImageReader


def caption(
    records: Iterable[Record],
    captioner: Captioner,
    reader: ImageReader,
    *,
    kind: CaptionKind,
    schema: StyleSchema,
    run: str,
    stop: StopSignal = NEVER,
) -> Iterator[Record | Failure]:
    """Adds `style`, the `style_*` attributes found and `content`: one result per record, in order.

    An existing `content` is kept: a human label is better than a guess. Attributes that were not
    found are absent, even if an earlier captioner had found them. Where the captioner describes one
    image at a time as it is asked for the next, `stop` ends the results between two with Stopped.
    """
    batch = list(records)
    images = reader.read_key(batch, "file_name")
    kinds = [_missing_kind(record, kind) for record in batch]
    descriptions = _descriptions(captioner, images, kinds, stop)
    for record, image, description in zip(batch, images, descriptions, strict=True):
        if isinstance(image, BadRecord):
            yield Failure.of(record, image)
        elif isinstance(description, BadRecord):
            message = f"{record['file_name']}: {description.message}"
            yield Failure(record, description.kind, message)
        else:
            yield with_description(record, description, schema, captioner.name, run)


def _missing_kind(record: Record, kind: CaptionKind) -> CaptionKind | None:
    """What remains to be described, given what the record already has; None if nothing."""
    if kind == "style" or not record.get("content"):
        return kind
    return "style" if kind == "both" else None


def _descriptions(
    captioner: Captioner,
    images: Sequence[Image | BadRecord],
    kinds: Sequence[CaptionKind | None],
    stop: StopSignal,
) -> Iterator[Description | BadRecord]:
    """A description for each image, in order; an empty one where there is nothing to describe."""
    wanted: dict[CaptionKind, list[Image]] = {}
    for image, kind in zip(images, kinds, strict=True):
        if kind is not None and not isinstance(image, BadRecord):
            wanted.setdefault(kind, []).append(image)
    described = {kind: captioner.describe(asked, kind) for kind, asked in wanted.items()}
    for kind, found in described.items():
        if isinstance(found, Sized) and len(found) != len(wanted[kind]):
            raise ValueError(f"{len(found)} descriptions of {len(wanted[kind])} images")
    made = {kind: stop.each_of(found) for kind, found in described.items()}
    for image, kind in zip(images, kinds, strict=True):
        if kind is None or isinstance(image, BadRecord):
            yield Description()
        else:
            yield next(made[kind])


def with_description(
    record: Record, description: Description, schema: StyleSchema, model: str, run: str
) -> Record:
    """The record with what was found, and the model and its confidence in the provenance."""
    result = dict(record)
    if description.style is not None or description.sentence is not None:
        attributes = description.style or StyleAttributes()
        result = {key: value for key, value in record.items() if key not in ATTRIBUTE_KEYS}
        result["style"] = description.sentence or style_sentence(attributes, schema)
        result |= attribute_keys(attributes)
    if description.content is not None:
        result["content"] = description.content
    facts: dict[str, Any] = {"model": model, "run": run, **description.notes}
    if description.confidence:
        facts["confidence"] = {
            name: round(value, 2) for name, value in description.confidence.items()
        }
    return annotate(result, "caption", **facts)
