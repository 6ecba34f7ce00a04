"""Engines: they run one function over many items, in this process or on many machines.

An engine knows nothing of what an item means. Every engine gives a stage the same bytes: the stage
cuts its work into blocks regardless of the number of workers, results come in the order of the
items, and every call runs on one thread, so that sums are added in one order.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

from megastyle_cli.core.errors import MegastyleError

EngineName = Literal["local", "ray"]

In = TypeVar("In")
Out = TypeVar("Out")


class Engine(Protocol):
    """Runs functions; closed when its `with` block ends."""

    workers: int  # maximum number of calls at once

    def put(self, items: Iterable[In]) -> Sequence[In]:
        """Sends items that several maps will read to the workers once.

        The result takes the place of `items` in `map` and is of no other use.
        """

    def map(
        self, function: Callable[..., Out], items: Iterable[Any], *shared: Any
    ) -> Iterator[Out]:
        """`function(item, *shared)` of every item, in the order of the items.

        `function` is defined at the top level of a module, so that it can be pickled, and does not
        change its arguments, whose memory calls may share. Items are drawn only slightly ahead of
        the results, so that neither need fit in memory. `shared` is sent to a worker once, not
        with every call. An error that the function raises for an item is raised in place of its
        result. Copy what is to outlive a result: a view may keep all of its memory alive.
        """

    def close(self) -> None:
        """Stops running calls and frees what `put` sent."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None: ...


def load_engine(name: str, workers: int | None = None) -> Engine:
    """The engine `name` with at most `workers` calls at once (None: one for each of its cores).

    Raises MegastyleError if there is no such engine, its package is not installed, or its machines
    cannot be reached.
    """
    if name == "local":
        from megastyle_cli.compute.local import LocalEngine

        return LocalEngine(workers)
    if name == "ray":
        from megastyle_cli.compute.ray import RayEngine

        return RayEngine(workers)
    raise MegastyleError(f"there is no engine {name!r}", hint="choose local or ray")
