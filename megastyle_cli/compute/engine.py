"""What runs block work: one function over many items, in this process or on many machines.

Engines know functions and items, never what an item means. A step is handed an engine, states its
work as `map`, and gets the same bytes from each: blocks are cut by the step and not by the number
of workers, results come in the order of items, and every call runs on one thread, so that sums are
added in one order.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

from megastyle_cli.core.errors import MegastyleError

EngineName = Literal["local", "ray"]

In = TypeVar("In")
Out = TypeVar("Out")


class Engine(Protocol):
    """Where functions run; closed when its `with` block ends."""

    workers: int  # how many calls run at once, at most

    def put(self, items: Iterable[In]) -> Sequence[In]:
        """Items that several maps will read, brought to the workers once.

        What comes back stands for `items` in `map` and may be read by nothing else.
        """

    def map(
        self, function: Callable[..., Out], items: Iterable[Any], *shared: Any
    ) -> Iterator[Out]:
        """`function(item, *shared)` of every item, in the order of items.

        `function` is a plain top-level function that can be pickled and changes none of its
        arguments, which may be the same memory in many calls. Items are drawn only a little ahead
        of the results, so that both may be more than fits in memory. `shared` goes to a worker
        once, not once a call. What the function raises for an item rises in its place. Of a result
        that is dropped keep copies and no views, which may hold all of it.
        """

    def close(self) -> None:
        """Ends what is running and gives back what was placed."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None: ...


def load_engine(name: str, workers: int | None = None) -> Engine:
    """The engine called `name` with at most `workers` calls at once (None: every core it has).

    Raises MegastyleError if there is no such engine, if its package is missing, or if its machines
    cannot be reached.
    """
    if name == "local":
        from megastyle_cli.compute.local import LocalEngine

        return LocalEngine(workers)
    if name == "ray":
        from megastyle_cli.compute.ray import RayEngine

        return RayEngine(workers)
    raise MegastyleError(f"there is no engine {name!r}", hint="choose local or ray")
