"""Images as they are made, so that a signal ends them between two, or between two batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from itertools import chain
from typing import TYPE_CHECKING

from megastyle_cli.models.protocols import PictureRequest
from megastyle_cli.runner.adaptive_batch_size import AdaptiveBatchSize
from megastyle_cli.runner.signals import StopSignal

if TYPE_CHECKING:
    from PIL.Image import Image

    from megastyle_cli.core.errors import BadRecord

Requests = Sequence[PictureRequest]


def images_as_made(
    make: Callable[[Requests], Iterable[Image | BadRecord]],
    make_batches: Callable[[Requests], Iterable[list[Image | BadRecord]]] | None,
    requests: Requests,
    stop: StopSignal,
    pieces: AdaptiveBatchSize | None = None,
) -> Iterable[Image | BadRecord]:
    """The images of `requests`, in order: a list where they are all made at once.

    `make` is a backend's `paint` or `restyle`, and `make_batches` the method that gives lists of
    images made together, if it has one. With `pieces`, `make` gets so many requests at a time. Once
    `stop` is requested, what is not begun raises Stopped.
    """
    if make_batches is not None:
        return chain.from_iterable(stop.each_of(iter(make_batches(requests))))
    if pieces is not None and pieces.current < pieces.most:
        return chain.from_iterable(stop.each_of(map(make, pieces.batches(requests))))
    images = make(requests)
    return images if isinstance(images, Sized) else stop.each_of(images)
