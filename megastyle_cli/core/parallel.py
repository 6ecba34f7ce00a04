"""Work spread over the cores this process may use, in threads: for code that releases the GIL."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


def usable_cores() -> int:
    """The number of cores available to this process, which a scheduler may have limited."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parallel_map(function: Callable[[In], Out], items: Sequence[In]) -> list[Out]:
    """`function` of every item, in order. The first error it raises is raised here."""
    threads = min(len(items), usable_cores())
    if threads < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))
