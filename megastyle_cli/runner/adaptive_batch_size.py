"""How many records a batch holds: from one on, as many as a slow backend finishes in about 10 s.

A signal is answered after the batch in hand, and a kill costs that batch, however slow a backend
is. Results do not depend on batches.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

TARGET_S = 10.0  # a third of the shortest time that schedulers leave between SIGTERM and SIGKILL


class AdaptiveBatchSize:
    """`current` is the size of the next batch, at least `least` and at most `most` records."""

    def __init__(self, most: int, least: int = 1) -> None:
        self.least, self.most = min(least, most), most
        self.current = self.least

    def update(self, count: int, seconds: float) -> None:
        """Doubles the size if a whole batch took less than half of TARGET_S, halves it over that.

        `count` records, which may be fewer than a whole batch, took `seconds`.
        """
        if seconds > TARGET_S:
            self.current = max(self.least, min(self.current, count) // 2)
        elif seconds <= TARGET_S / 2 and count >= self.current:
            self.current = min(self.most, 2 * self.current)

    def batches(self, values: Iterable[T]) -> Iterator[list[T]]:
        """`values` in lists of the size that is current when each begins, the last one shorter."""
        rest = iter(values)
        while batch := list(islice(rest, self.current)):
            yield batch
