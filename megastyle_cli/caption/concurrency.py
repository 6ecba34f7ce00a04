"""Parts of a batch side by side, for steps that wait: for a server, or for pictures to decode."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TypeVar

from megastyle_cli.core.record import Failure, Record, Step

In = TypeVar("In")
Out = TypeVar("Out")


def in_lanes(step: Step, *, lanes: int, at_once: int) -> Step:
    """`step` in parts of `at_once` records, `lanes` of them at the same time; results in order.

    `step` must bear being called from several threads. What it raises rises here, and no further
    part is begun.
    """

    def laned(records: Iterable[Record]) -> Iterator[Record | Failure]:
        batch = list(records)
        parts = [batch[start : start + at_once] for start in range(0, len(batch), at_once)]
        with ThreadPoolExecutor(lanes) as pool:
            for results in pool.map(lambda part: list(step(part)), parts):
                yield from results

    return laned


def few_at_a_time(
    function: Callable[[Sequence[In]], Out], most: int
) -> Callable[[Sequence[In]], Out]:
    """`function`, with at most `most` threads inside: so many lanes must not all decode at once."""
    turn = BoundedSemaphore(most)

    def waiting(items: Sequence[In]) -> Out:
        with turn:
            return function(items)

    return waiting
