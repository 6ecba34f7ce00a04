"""Renders pairs: one image per record, of its content in its style."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Failure, Record, record_seed
from megastyle_cli.generate.as_made import images_as_made
from megastyle_cli.generate.filters import Filter
from megastyle_cli.generate.save import ImageStore, filter_and_save, valid_requests
from megastyle_cli.models.protocols import Painter, PictureRequest
from megastyle_cli.runner.adaptive_batch_size import AdaptiveBatchSize
from megastyle_cli.runner.signals import NEVER, StopSignal

if TYPE_CHECKING:
    from PIL.Image import Image

    from megastyle_cli.io.images import ImageReader

BATCHES_PER_ROUND = 4  # model batches whose prompts are encoded and sorted by length together
# With --offload model: the encoder and the denoiser of Qwen-Image, 54 GiB, are moved once for all.
OFFLOADED_BATCHES_PER_ROUND = 16


def synth(
    records: Iterable[Record],
    painter: Painter,
    store: ImageStore,
    *,
    content_reader: ImageReader | None,
    style_reader: ImageReader | None,
    template: PictureRequest,
    run: str,
    settings: Mapping[str, Any],
    requires_style: bool = False,
    filters: Sequence[Filter] = (),
    stop: StopSignal = NEVER,
    pieces: AdaptiveBatchSize | None = None,
) -> Iterator[Record | Failure]:
    """Adds `file_name`, `width`, `height` and `seed`: one result per record, in order.

    The painter gets a pair's texts and, of its two images, those that have a reader. `template`
    holds what all requests have in common; each record's seed is derived from its `seed`.
    `settings` go into each record's provenance. A missing style image fails the record if
    `requires_style` (a filter compares with it), else it is left to the painter. Rejected images
    are not saved. A signal ends the results with Stopped where the painter has not begun the next
    image or batch; with `pieces` it gets so many requests at a time.
    """
    batch = list(records)
    contents = _images(batch, "content_file_name", content_reader, is_required=False)
    styles = _images(batch, "style_file_name", style_reader, is_required=requires_style)
    requests: list[PictureRequest | BadRecord] = []
    for record, content, style in zip(batch, contents, styles, strict=True):
        if isinstance(content, BadRecord):
            requests.append(content)
        elif isinstance(style, BadRecord):
            requests.append(style)
        else:
            requests.append(
                replace(
                    template,
                    content=record.get("content"),
                    style=record.get("style"),
                    content_picture=content,
                    references=(style,) if style else (),
                    reference_keys=(record["style_file_name"],) if style else (),
                    weights=(1.0,) if style else (),
                    seed=record_seed(template.seed, record["id"]),
                )
            )
    in_batches = getattr(painter, "paint_batches", None)
    yield from filter_and_save(
        batch,
        requests,
        images_as_made(painter.paint, in_batches, valid_requests(requests), stop, pieces),
        command="synth",
        store=store,
        metadata={"model": painter.name, "run": run, **settings},
        filters=filters,
    )


def _images(
    records: Sequence[Record], key: str, reader: ImageReader | None, *, is_required: bool
) -> list[Image | BadRecord | None]:
    """The images under `key`; None if there is no reader, or where an optional one is missing."""
    if reader is None:
        return [None] * len(records)
    images: list[Image | BadRecord | None] = []
    for image in reader.read_key(records, key):
        is_missing = isinstance(image, BadRecord) and image.kind == "missing_key"
        images.append(None if is_missing and not is_required else image)
    return images
