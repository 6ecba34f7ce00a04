"""Image loader of the style encoder: batches decoded ahead by all cores, broken images replaced."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from megastyle_cli.compute.engine import parallel_map, usable_cores
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Failure
from megastyle_cli.io.images import open_picture
from megastyle_cli.models.device import device_threads
from megastyle_cli.models.encoders.siglip_vision import resize_to_square
from megastyle_cli.training.encoder.data import LabelledImages
from megastyle_cli.training.encoder.decode import decode_into
from megastyle_cli.training.encoder.sampler import Array, GroupSampler, rank_slice

# b images in a rank's batch

PREFETCH_BYTES = 1 << 30  # of batches decoded ahead: one of 8,192 images of 448 px takes 4.9 GB
MAX_PREFETCH = 8
# Pinned at most: nothing else can use it, torch rounds each batch up to a power of two, and 8 ranks
# of a node do the same. Copying a larger batch from ordinary memory takes 1 % of its step.
PINNED_BYTES = 2 << 30
IMAGES_PER_TASK = 8  # decoded by one thread: images of a style are often stored together


@dataclass
class ImageBatch:
    """One rank's slice of a step's global batch, still in host memory."""

    pixels: Tensor  # uint8 (b, 3, decoded side, decoded side), channels last in memory
    rows: Array  # (b,): the images shown
    failures: list[Failure] = field(default_factory=list)  # images that could not be opened
    is_complete: bool = True  # False: for some rows no image could be opened


Unreadable = tuple[int, BadRecord]  # the row and why it cannot be opened
DecodeTask = Future[tuple[list[Unreadable], bool]]  # unreadable images, and whether all rows filled


class ImageLoader:
    """Batches of one rank, decoded by all cores while earlier ones are being trained on.

    At least one batch is decoded ahead, and up to MAX_PREFETCH while they fit in PREFETCH_BYTES. An
    image that cannot be opened is replaced by the next of its style, and if a style has none, by
    the image at the same position in the next style that has one: the K images of a group are
    replaced together and stay each other's positives. Each unreadable image is reported once. The
    result depends on the files only, never on which thread is first.
    """

    def __init__(
        self,
        images: LabelledImages,
        sampler: GroupSampler,
        *,
        side_px: int,
        device: torch.device,
        rank: int,
        world: int,
    ) -> None:
        self.images, self.sampler = images, sampler
        self.side_px, self.rank, self.world = side_px, rank, world
        self.pool = device_threads(usable_cores(), device)
        self.has_gpu = device.type == "cuda"
        self.reported: set[int] = set()
        # styles without a readable image, so that their files are not all tried each time
        self.unreadable_styles: dict[int, list[Unreadable]] = {}
        by_style = np.argsort(images.styles, kind="stable")
        self.rows_of_style = np.split(by_style, np.cumsum(np.bincount(images.styles))[:-1])

    def batches(self, first: int, last: int) -> Iterator[ImageBatch]:
        """The batches of the steps `first` to `last`, exclusive."""
        ahead: deque[tuple[Tensor, Array, list[DecodeTask]]] = deque()
        for step in range(first, last):
            ahead.append(self._start(step))
            if len(ahead) > num_ahead(ahead[0][0].nbytes):
                yield self._finish(*ahead.popleft())
        while ahead:
            yield self._finish(*ahead.popleft())

    def close(self) -> None:
        """Stops the threads and discards what was decoded ahead."""
        self.pool.shutdown(cancel_futures=True)

    def _start(self, step: int) -> tuple[Tensor, Array, list[DecodeTask]]:
        """A batch's pixels (b, side, side, 3), yet to be filled, its rows, and the tasks."""
        rows = rank_slice(self.sampler.batch(step), self.rank, self.world).copy()
        pixels = self._allocate(len(rows))
        starts = range(0, len(rows), IMAGES_PER_TASK)
        shares = [slice(start, start + IMAGES_PER_TASK) for start in starts]
        tasks = [self.pool.submit(self._fill, pixels[share], rows[share]) for share in shares]
        return pixels, rows, tasks

    def _allocate(self, b: int) -> Tensor:
        """Memory for the pixels of a batch; pinned where a device copies them asynchronously."""
        shape = (b, self.side_px, self.side_px, 3)
        if self.has_gpu and is_pinned(math.prod(shape)):
            return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        # numpy asks for huge pages: touching normal ones costs half as much as the decoding
        return torch.from_numpy(np.empty(shape, np.uint8))

    def _finish(self, pixels: Tensor, rows: Array, tasks: list[DecodeTask]) -> ImageBatch:
        results = [task.result() for task in tasks]
        failures = []
        for row, error in (each for unreadable, _ in results for each in unreadable):
            if row not in self.reported:
                self.reported.add(row)
                failures.append(image_failure(self.images, row, error))
        is_complete = all(is_filled for _, is_filled in results)
        return ImageBatch(pixels.permute(0, 3, 1, 2), rows, failures, is_complete)

    def _fill(self, pixels: Tensor, rows: Array) -> tuple[list[Unreadable], bool]:
        """Decodes the images of `rows`, writing the row of each replacement into it.

        Returns the unreadable images, and whether there was an image for every row.
        """
        unreadable: list[Unreadable] = []
        for index, row in enumerate(rows.tolist()):
            shown, failed = self._decode(pixels[index], row)
            unreadable += failed
            if shown is None:
                return unreadable, False
            rows[index] = shown
        return unreadable, True

    def _decode(self, pixels: Tensor, row: int) -> tuple[int | None, list[Unreadable]]:
        """Decodes a row's image or its replacement; its row, and the images tried before it."""
        first = int(self.images.styles[row])
        position = int(np.searchsorted(self.rows_of_style[first], row))
        num_styles = len(self.rows_of_style)
        unreadable: list[Unreadable] = []
        for style in chain(range(first, num_styles), range(first)):
            shown, failed = self._decode_from_style(style, position, pixels)
            unreadable += failed
            if shown is not None:
                return shown, unreadable
        return None, unreadable

    def _decode_from_style(
        self, style: int, position: int, pixels: Tensor
    ) -> tuple[int | None, list[Unreadable]]:
        """Decodes the image at `position` in a style, or the next one that can be opened."""
        if style in self.unreadable_styles:
            return None, self.unreadable_styles[style]
        unreadable: list[Unreadable] = []
        for row in np.roll(self.rows_of_style[style], -position).tolist():
            try:
                decode_into(pixels, self.images.names[row])
                return row, unreadable
            except BadRecord as error:
                unreadable.append((row, error))
        self.unreadable_styles[style] = unreadable
        return None, unreadable


def num_ahead(batch_bytes: int) -> int:
    """How many batches of that size are decoded ahead."""
    return min(MAX_PREFETCH, max(1, PREFETCH_BYTES // batch_bytes))


def is_pinned(batch_bytes: int) -> bool:
    """Whether batches of that size, those ahead and the one in use, are few enough to be pinned."""
    return (num_ahead(batch_bytes) + 2) * batch_bytes <= PINNED_BYTES


def read_images(
    images: LabelledImages, rows: Sequence[int], side_px: int
) -> tuple[list[int], list[Tensor], list[Failure]]:
    """The rows that can be opened, their pixels as an encoder takes them, and the failures.

    Pixels are uint8 (3, side, side), resized from the full image: no reduced decoding as in
    training.
    """

    def read(row: int) -> Tensor | Failure:
        try:
            return resize_to_square(open_picture(images.names[row]), side_px)
        except BadRecord as error:
            return image_failure(images, row, error)

    results = list(zip(rows, parallel_map(read, rows), strict=True))
    return (
        [row for row, pixels in results if isinstance(pixels, Tensor)],
        [pixels for _, pixels in results if isinstance(pixels, Tensor)],
        [failure for _, failure in results if isinstance(failure, Failure)],
    )


def image_failure(images: LabelledImages, row: int, error: BadRecord) -> Failure:
    """The failed record of an image, as it is written to the errors file."""
    record = {"id": images.ids[row], "file_name": images.names[row]}
    return Failure.of(record, error)
