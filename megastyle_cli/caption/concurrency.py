"""Concurrency within a batch, for steps that wait for a server or for images to be decoded."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TypeVar

from megastyle_cli.core.record import Failure, Record, Step

In = TypeVar("In")
Out = TypeVar("Out")


def run_concurrently(
    step: Step, records: Iterable[Record], *, workers: int, chunk_size: int
) -> Iterator[Record | Failure]:
    """The results of `step` on `records`, in order, from chunks that `workers` threads work on.

    `step` must be thread-safe. An exception it raises is raised here, and no further chunk starts.
    """
    batch = list(records)
    chunks = [batch[start : start + chunk_size] for start in range(0, len(batch), chunk_size)]
    with ThreadPoolExecutor(workers) as pool:
        for results in pool.map(lambda chunk: list(step(chunk)), chunks):
            yield from results


def limit_concurrency(
    function: Callable[[Sequence[In]], Out], limit: int
) -> Callable[[Sequence[In]], Out]:
    """`function`, run by at most `limit` threads at a time while the others wait."""
    semaphore = BoundedSemaphore(limit)

    def limited(items: Sequence[In]) -> Out:
        with semaphore:
            return function(items)

    return limited
