"""One image per thread, each on one core: no result depends on the number of cores."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from threadpoolctl import threadpool_limits

from megastyle_cli.core.parallel import parallel_map

In = TypeVar("In")
Out = TypeVar("Out")


def map_images(function: Callable[[In], Out], items: Sequence[In]) -> list[Out]:
    """`function` of every item, in order, with BLAS limited to one thread.

    Otherwise the small matrix products of each thread would use all cores and wait for each
    other: the captioner then takes two and a half times the CPU.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        return parallel_map(function, items)
