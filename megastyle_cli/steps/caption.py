"""Describe pictures: a style sentence, its attributes and the content, beside what the record held."""

from collections.abc import Iterable, Iterator
from typing import Any

from megastyle_cli.choices import Kind, Schema
from megastyle_cli.errors import BadRecord
from megastyle_cli.models.backend import Captioner, Description
from megastyle_cli.record import Failure, Record, note
from megastyle_cli.steps.pictures import Read, pictures_of
from megastyle_cli.style import ATTRIBUTE_KEYS, attribute_keys, style_sentence


def caption(
    records: Iterable[Record],
    *,
    captioner: Captioner,
    read: Read,
    kind: Kind,
    schema: Schema,
    run: str,
) -> Iterator[Record | Failure]:
    """Adds `style`, the `style_*` attributes that were seen and `content`, in order.

    A `content` that the record brings is kept: a person's label beats a guess. What was not seen
    is absent, also where an earlier captioner had seen it.
    """
    batch = list(records)
    pictures = pictures_of(batch, "file_name", read)
    seen = iter(captioner.describe([p for p in pictures if not isinstance(p, BadRecord)], kind))
    for record, picture in zip(batch, pictures, strict=True):
        if isinstance(picture, BadRecord):
            yield Failure(record, picture.kind, picture.message)
        else:
            yield _described(record, next(seen), schema, captioner.name, run)


def _described(record: Record, seen: Description, schema: Schema, model: str, run: str) -> Record:
    told = dict(record)
    if seen.style is not None:
        told = {key: value for key, value in record.items() if key not in ATTRIBUTE_KEYS}
        told |= {"style": style_sentence(seen.style, schema), **attribute_keys(seen.style)}
    if seen.content is not None and "content" not in record:
        told["content"] = seen.content
    facts: dict[str, Any] = {"model": model, "run": run}
    if seen.confidence:
        facts["confidence"] = {key: round(p, 2) for key, p in seen.confidence.items()}
    return note(told, "caption", **facts)
