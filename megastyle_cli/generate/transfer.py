"""Applies reference styles to the content image of each record, or to its text.

A stylist that generates from text gets the record's content, else what a captioner finds on its
content image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from megastyle_cli.captioning.caption import with_description
from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record, record_seed
from megastyle_cli.generate.as_made import images_as_made
from megastyle_cli.generate.save import ImageStore, filter_and_save, valid_requests
from megastyle_cli.models.protocols import Captioner, PictureRequest, Stylist
from megastyle_cli.runner.signals import NEVER, StopSignal

if TYPE_CHECKING:
    from PIL.Image import Image

    from megastyle_cli.io.images import ImageReader


@dataclass(frozen=True, kw_only=True)
class StyleReferences:
    """Style images for records without their own, and the weight of each; the weights sum to 1."""

    names: tuple[str, ...]
    weights: tuple[float, ...]


def weighted_references(names: Sequence[str], weights: Sequence[float]) -> StyleReferences:
    """StyleReferences with weights in proportion to `weights`; equal weights if there are none.

    Raises MegastyleError if the numbers of names and weights differ or the weights sum to 0.
    """
    given = list(weights) or [1.0] * len(names)
    if len(given) != len(names):
        raise MegastyleError(
            f"{len(names)} styles but {len(given)} weights",
            hint="give one weight per style",
        )
    total = sum(given)
    if names and total <= 0:
        raise MegastyleError("the style weights sum to 0", hint="make at least one positive")
    return StyleReferences(names=tuple(names), weights=tuple(weight / total for weight in given))


def transfer(
    records: Iterable[Record],
    stylist: Stylist,
    store: ImageStore,
    *,
    references: StyleReferences,
    content_reader: ImageReader,
    style_reader: ImageReader,
    starts_from_image: bool,
    captioner: Captioner | None,
    template: PictureRequest,
    run: str,
    settings: Mapping[str, Any],
    stop: StopSignal = NEVER,
) -> Iterator[Record | Failure]:
    """Adds `file_name`, `width`, `height` and `seed`: one result per record, in order.

    The content image is `content_file_name`, else `file_name`, which is renamed to the former. It
    is read if the stylist `starts_from_image`, or if the stylist needs text (then there is a
    `captioner`) and the record has no `content`. A record's own `style_file_name` takes precedence
    over `references`. `template` holds what all requests have in common; each record's seed is
    derived from its `seed`. Its `strength` and the `settings` go into each record's provenance. A
    signal ends the results with Stopped where the stylist has not begun the next image or batch.
    """
    as_read = list(records)
    batch = [_with_image_names(record, references) for record in as_read]
    contents = _content_images(batch, content_reader, starts_from_image, captioner is not None)
    if captioner is not None:
        batch = _with_content(batch, contents, captioner, run)
    requests = [
        _request(
            replace(template, seed=record_seed(template.seed, record["id"])),
            record,
            content,
            references,
            style_reader,
            needs_text=captioner is not None,
        )
        for record, content in zip(batch, contents, strict=True)
    ]
    in_batches = getattr(stylist, "restyle_batches", None)
    yield from filter_and_save(
        batch,
        requests,
        images_as_made(stylist.restyle, in_batches, valid_requests(requests), stop),
        command="transfer",
        store=store,
        metadata={"model": stylist.name, "run": run, "strength": template.strength, **settings},
        as_read=as_read,
    )


def _with_image_names(record: Record, references: StyleReferences) -> Record:
    """The record with the names of its content image and of its heaviest style reference."""
    named = {key: value for key, value in record.items() if key != "file_name"}
    if "file_name" in record:
        named.setdefault("content_file_name", record["file_name"])
    if references.names:
        heaviest = max(range(len(references.names)), key=references.weights.__getitem__)
        named.setdefault("style_file_name", references.names[heaviest])
    return named


def _content_images(
    records: Sequence[Record], reader: ImageReader, starts_from_image: bool, needs_text: bool
) -> list[Image | BadRecord | None]:
    """The content images in order; None where neither the stylist nor a captioner needs one."""
    is_needed = [
        starts_from_image or (needs_text and not record.get("content")) for record in records
    ]
    needed = [record for record, needs in zip(records, is_needed, strict=True) if needs]
    images = iter(reader.read_key(needed, "content_file_name"))
    return [next(images) if needs else None for needs in is_needed]


def _with_content(
    records: Sequence[Record],
    images: Sequence[Image | BadRecord | None],
    captioner: Captioner,
    run: str,
) -> list[Record]:
    """The records; those without `content` get what the captioner finds on their image, if any."""
    result = list(records)
    rows, uncaptioned = [], []
    for row, (record, image) in enumerate(zip(records, images, strict=True)):
        if not record.get("content") and image is not None and not isinstance(image, BadRecord):
            rows.append(row)
            uncaptioned.append(image)
    descriptions = captioner.describe(uncaptioned, "content") if uncaptioned else []
    for row, description in zip(rows, descriptions, strict=True):
        if not isinstance(description, BadRecord):
            result[row] = with_description(records[row], description, "v2", captioner.name, run)
    return result


def _request(
    template: PictureRequest,
    record: Record,
    content: Image | BadRecord | None,
    references: StyleReferences,
    style_reader: ImageReader,
    *,
    needs_text: bool,
) -> PictureRequest | BadRecord:
    """`template` with the record's text and images; BadRecord if something needed is missing."""
    own = record.get("style_file_name")
    if own is not None and not isinstance(own, str):
        return BadRecord(
            "missing_key",
            f"record {record['id']} has style_file_name {own!r}, not one file name:"
            " to mix several styles, repeat --style",
        )
    own_references = weighted_references([own] if own else [], [])
    styles = references if own in references.names else own_references
    if not styles.names:
        return BadRecord(
            "missing_key",
            f"record {record['id']} has no style_file_name: give --style",
            "style_file_name",
        )
    style_images = style_reader.read(styles.names)
    for image in (content, *style_images):
        if isinstance(image, BadRecord) and image.kind != "missing_key":
            return image
    text = record.get("content")
    if needs_text and not text:
        return _missing_text(record, content)
    if text is not None and not isinstance(text, str):
        return BadRecord("missing_key", f"record {record['id']} has content {text!r}, not text")
    return replace(
        template,
        content=text,
        content_picture=None if isinstance(content, BadRecord) else content,
        references=tuple(image for image in style_images if not isinstance(image, BadRecord)),
        reference_keys=styles.names,
        weights=styles.weights,
    )


def _missing_text(record: Record, content: Image | BadRecord | None) -> BadRecord:
    if content is None or isinstance(content, BadRecord):
        reason = f"record {record['id']} has neither content nor a content image"
    else:
        reason = f"what {record['content_file_name']} shows was not recognized"
    return BadRecord(
        "missing_key",
        f"{reason}, but FLUX needs a prompt: give --prompt, or run megastyle caption first",
    )
