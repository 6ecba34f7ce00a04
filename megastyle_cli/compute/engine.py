"""Engines: they run one function over many items, in this process or on many machines.

An engine does not know what an item means. Every engine gives a stage the same bytes: the stage
cuts its work into blocks regardless of the number of workers, results come in the order of the
items, and every call runs on one thread, so that sums are added in one order.
"""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from itertools import islice
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

from threadpoolctl import ThreadpoolController

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.process_id import launcher_cores

In = TypeVar("In")
Out = TypeVar("Out")

MAX_CHARACTERS = 1 << 22  # of a batch of texts
AHEAD = 2  # items drawn for each thread of LocalEngine: one in work, and the next


class Engine(Protocol):
    """Runs functions; closed when its `with` block ends."""

    workers: int  # maximum number of calls at once

    def put(self, items: Iterable[In]) -> Sequence[In]:
        """Sends items that several maps will read to the workers once.

        Pass the result to `map` in place of `items`; it has no other use.
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
        return LocalEngine(workers)
    if name == "ray":
        from megastyle_cli.compute.ray import RayEngine

        return RayEngine(workers, local_cores=usable_cores())
    raise MegastyleError(f"there is no engine {name!r}", hint="choose local or ray")


class LocalEngine:
    """The engine of this process, of `workers` threads; None: one for each core available to it.

    Threads suffice, since the work is done by compiled code that releases the GIL: they read the
    same arrays, nothing is pickled, and no process is left behind.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = usable_cores() if workers is None else workers

    def put(self, items: Iterable[In]) -> list[In]:
        """The items as they are: threads share memory."""
        return list(items)

    def map(
        self, function: Callable[..., Out], items: Iterable[Any], *shared: Any
    ) -> Iterator[Out]:
        """See `Engine.map`."""
        with limit_threads():
            if self.workers == 1:
                for item in items:
                    yield function(item, *shared)
            else:
                yield from self._over_threads(function, iter(items), shared)

    def _over_threads(
        self, function: Callable[..., Out], items: Iterator[Any], shared: tuple[Any, ...]
    ) -> Iterator[Out]:
        # again in each thread: OpenMP's limit holds for the thread that sets it
        pool = ThreadPoolExecutor(self.workers, initializer=limit_threads)
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


def usable_cores() -> int:
    """The number of cores for this process: a scheduler may have limited them.

    The ranks that accelerate or torchrun started on a machine share the cores of their launcher. A
    rank that was bound to some of them has at most these, and they are not divided again.
    """
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    if not hasattr(os, "sched_getaffinity"):  # not Linux
        return max(1, (os.cpu_count() or 1) // ranks)
    own = len(os.sched_getaffinity(0))
    return own if ranks == 1 else max(1, min(own, (launcher_cores() or own) // ranks))


def parallel_map(
    function: Callable[[In], Out], items: Sequence[In], *, limits_blas: bool = False
) -> list[Out]:
    """`function` of every item, in order, over the cores of this process in threads.

    It should release the GIL. The first error it raises is raised here. `limits_blas` limits BLAS
    to one thread meanwhile: else the small matrix products of each thread use all cores and wait
    for each other, and the builtin captioner takes two and a half times the CPU.
    """
    threads = min(len(items), usable_cores())
    with limit_threads("blas") if limits_blas else nullcontext():
        if threads < 2:
            return [function(item) for item in items]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(function, items))


def limit_threads(library: Literal["blas", "openmp"] | None = None) -> AbstractContextManager[Any]:
    """BLAS, OpenMP or both use one thread from now on, or until the end of the `with` block."""
    return _thread_pools(len(sys.modules)).limit(limits=1, user_api=library)  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def _thread_pools(num_modules: int) -> ThreadpoolController:
    """The libraries that are loaded: finding them takes milliseconds, so only after an import."""
    return ThreadpoolController()


def text_batches(
    texts: Iterable[str], max_texts: int, max_characters: int = MAX_CHARACTERS
) -> Iterator[list[str]]:
    """The texts in order; a batch ends at `max_texts` or with the text that fills its characters.

    A batch may exceed `max_characters` by less than its last text.
    """
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if len(batch) == max_texts or characters >= max_characters:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
