"""One picture a thread: all cores busy, and no answer that depends on how many there are."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


def over_cores(function: Callable[[In], Out], items: Sequence[In]) -> list[Out]:
    """`function` of every item, in order; what it raises for one item rises here."""
    threads = min(len(items), os.cpu_count() or 1)
    if threads < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))
