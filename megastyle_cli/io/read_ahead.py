"""Reads the next batch in a thread while the current one is being used."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Batch = TypeVar("Batch")
Read = TypeVar("Read")


def read_ahead(
    batches: Iterable[Batch], read: Callable[[Batch], Read], *, is_ahead: bool
) -> Iterator[tuple[Batch, Read]]:
    """Each batch and what `read` returns for it, in order.

    With `is_ahead` one batch is read ahead: pays off where a batch is used on a GPU meanwhile. What
    `read` raises for a batch is raised in its place.
    """
    if not is_ahead:
        for batch in batches:
            yield batch, read(batch)
        return
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for batch in batches:
            following = (batch, pool.submit(read, batch))
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = following
        if waiting is not None:
            yield waiting[0], waiting[1].result()
