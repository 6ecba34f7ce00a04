"""The engine of this process: calls run one after another, or in threads.

Threads suffice, since the work is done by compiled code that releases the GIL: they read the same
arrays, nothing is pickled, and no process is left behind.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypeVar

from threadpoolctl import threadpool_limits

from megastyle_cli.core.parallel import usable_cores

In = TypeVar("In")
Out = TypeVar("Out")

AHEAD = 2  # items drawn for each thread: one in work, and the next


class LocalEngine:
    """An engine of `workers` threads; None: one for each core available to this process."""

    def __init__(self, workers: int | None = None) -> None:
        self.workers = usable_cores() if workers is None else workers

    def put(self, items: Iterable[In]) -> list[In]:
        """The items as they are: threads share memory."""
        return list(items)

    def map(
        self, function: Callable[..., Out], items: Iterable[Any], *shared: Any
    ) -> Iterator[Out]:
        """See `Engine.map`."""
        with threadpool_limits(1):
            if self.workers == 1:
                for item in items:
                    yield function(item, *shared)
            else:
                yield from self._over_threads(function, iter(items), shared)

    def _over_threads(
        self, function: Callable[..., Out], items: Iterator[Any], shared: tuple[Any, ...]
    ) -> Iterator[Out]:
        # again in each thread: OpenMP's limit holds for the thread that sets it
        pool = ThreadPoolExecutor(self.workers, initializer=threadpool_limits, initargs=(1,))
        running: deque[Future[Out]] = deque()
        try:
            for item in islice(items, AHEAD * self.workers):
                running.append(pool.submit(function, item, *shared))
            while running:
                done = running.popleft().result()
                for item in islice(items, 1):
                    running.append(pool.submit(function, item, *shared))
                yield done
        finally:
            # waiting calls are dropped, and a signal or an error does not wait for running ones
            pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Does nothing: an unfinished map ends when its iterator is deleted."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()
