"""One picture a thread, each on one core: no answer depends on how many cores there are."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from threadpoolctl import threadpool_limits

from megastyle_cli.core import parallel as cores

In = TypeVar("In")
Out = TypeVar("Out")


def over_cores(function: Callable[[In], Out], items: Sequence[In]) -> list[Out]:
    """`function` of every item, in order, with numpy's own threads off meanwhile.

    Small matrix products spread over all cores by each of our threads would only wait for each
    other: the measures of the captioner took two and a half times the CPU.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        return cores.parallel_map(function, items)
