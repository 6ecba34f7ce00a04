"""Images come as they are made, and a signal ends them where nothing is lost."""

from collections.abc import Iterator, Sequence

import pytest
from PIL.Image import Image

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.generate.as_made import images_as_made
from megastyle_cli.models.protocols import PictureRequest
from megastyle_cli.runner.adaptive_batch_size import AdaptiveBatchSize
from megastyle_cli.runner.signals import Stopped, StopSignal
from tests.generate.fakes import FakePainter

REQUESTS = [PictureRequest(seed=seed) for seed in range(9)]


class Stopping(FakePainter):
    """Is asked to stop while it paints the image of one seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed, self.stop = seed, StopSignal()

    def paint(self, requests: Sequence[PictureRequest]) -> list[Image | BadRecord]:
        self.stop.requested |= self.seed in [request.seed for request in requests]
        return super().paint(requests)

    def paint_one_by_one(self, requests: Sequence[PictureRequest]) -> Iterator[Image | BadRecord]:
        for request in requests:
            yield from self.paint([request])

    def paint_batches(
        self, requests: Sequence[PictureRequest]
    ) -> Iterator[list[Image | BadRecord]]:
        for start in range(0, len(requests), 4):
            yield self.paint(requests[start : start + 4])


def taken(painter: Stopping, kind: str, pieces: AdaptiveBatchSize | None = None) -> int:
    """How many images came before the end."""
    make = painter.paint_one_by_one if kind == "one by one" else painter.paint
    batches = painter.paint_batches if kind == "batches" else None
    count = 0
    for _ in images_as_made(make, batches, REQUESTS, painter.stop, pieces):
        count += 1
    return count


@pytest.mark.parametrize(("kind", "made"), [("one by one", 3), ("batches", 4)])
def test_a_signal_ends_the_images_after_those_that_are_made(kind: str, made: int) -> None:
    painter, count = Stopping(seed=2), 0
    make = painter.paint_one_by_one if kind == "one by one" else painter.paint
    batches = painter.paint_batches if kind == "batches" else None

    with pytest.raises(Stopped):
        for _ in images_as_made(make, batches, REQUESTS, painter.stop):
            count += 1

    assert count == made == len(painter.requests)


@pytest.mark.parametrize("kind", ["list", "one by one", "batches"])
def test_without_a_signal_all_images_come(kind: str) -> None:
    assert taken(Stopping(seed=99), kind) == len(REQUESTS)


def test_a_list_comes_whole() -> None:
    assert taken(Stopping(seed=2), "list") == len(REQUESTS)


def test_pieces_are_made_of_the_current_size_and_not_at_all_once_it_is_the_largest() -> None:
    slow, fast = Stopping(seed=2), Stopping(seed=2)

    with pytest.raises(Stopped):
        taken(slow, "list", AdaptiveBatchSize(8))
    assert len(slow.requests) == 3

    assert taken(fast, "list", AdaptiveBatchSize(8, least=8)) == len(REQUESTS)
