"""Batches processed side by side, for work that waits for a server; results in input order."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

from megastyle_cli.runner.signals import NEVER, Stopped, StopSignal

AHEAD = 8  # batches that a worker may be ahead of the oldest unfinished one: results, not images
GRACE_S = (
    20.0  # for what is under way at a signal: schedulers leave 30 s, or what they are configured to
)
POLL_S = 0.2  # how often a wait looks whether a signal came

Item = TypeVar("Item")
Result = TypeVar("Result")


def concurrent_results(
    process: Callable[[Item], Iterable[Result]],
    items: Iterator[Item],
    workers: int,
    stop: StopSignal,
    grace_s: float = GRACE_S,
) -> Iterator[Iterator[Result]]:
    """The results of `process` for each item, in order, from `workers` threads.

    What `process` raises for an item rises when its results are read. No worker waits for the
    others at the end of an item; a slow one holds back at most AHEAD items for each worker. Once
    `stop` is requested, what has not begun is dropped, and so is what is not done `grace_s` later,
    with all that follows it: results are written in order. The first item that is dropped raises
    Stopped. Batches of a `MapJob` must hold one record each: with later ones under way it cannot
    divide one and keep the order.
    """
    running: deque[Future[list[Result]]] = deque()
    pool = _Workers(process, workers, stop)
    patience = _Patience(stop, grace_s)
    try:
        for item in items:
            running.append(pool.submit(item))
            while running and (running[0].done() or len(running) >= AHEAD * workers):
                yield patience.results(running.popleft())
        while running and not patience.is_over:
            yield patience.results(running.popleft())
    finally:
        pool.close()


class _Workers(Generic[Item, Result]):
    """Threads that the end of the process does not wait for: a server may never answer."""

    def __init__(
        self, process: Callable[[Item], Iterable[Result]], count: int, stop: StopSignal
    ) -> None:
        self._process, self._stop, self._is_closed = process, stop, False
        self._waiting: SimpleQueue[tuple[Item, Future[list[Result]]] | None] = SimpleQueue()
        self._count, self._threads = count, 0

    def submit(self, item: Item) -> Future[list[Result]]:
        if self._threads < self._count:
            self._threads += 1
            Thread(target=self._work, daemon=True).start()
        future: Future[list[Result]] = Future()
        self._waiting.put((item, future))
        return future

    def close(self) -> None:
        self._is_closed = True
        for _ in range(self._threads):
            self._waiting.put(None)

    def _work(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            item, future = waiting
            if self._is_closed or self._stop.requested:
                future.cancel()
                continue
            try:
                future.set_result(list(self._process(item)))
            except BaseException as error:
                future.set_exception(error)


class _Patience:
    """Waits for results, once a signal came only as long as the grace lasts."""

    def __init__(self, stop: StopSignal, grace_s: float) -> None:
        self._stop, self._grace_s = stop, grace_s
        self._end_s: float | None = None
        self.is_over = False  # something was dropped: what follows it is, too

    def results(self, future: "Future[list[Result]]") -> Iterator[Result]:
        """The results of one item. Raises Stopped if a signal ended the wait for them."""
        while True:
            if self._stop.requested and self._end_s is None:
                self._end_s = time.monotonic() + self._grace_s
            left_s = POLL_S if self._end_s is None else self._end_s - time.monotonic()
            if not future.done():
                wait([future], timeout=min(POLL_S, max(0.0, left_s)))
            if future.cancelled() or (left_s <= 0 and not future.done()):
                self.is_over = True
                raise Stopped
            if future.done():
                yield from future.result()
                return


def concurrent_chunks(
    process: Callable[[Sequence[Item]], Iterable[Result]],
    batch: Sequence[Item],
    workers: int,
    chunk_size: int,
    stop: StopSignal = NEVER,
) -> Iterator[Result]:
    """The results of `process` for chunks of one batch, in order, from `workers` threads.

    What `process` raises for a chunk rises here, and no further chunk begins. Once `stop` is
    requested, the first chunk that has not begun raises Stopped.
    """

    def results_of(chunk: Sequence[Item]) -> list[Result]:
        if stop.requested:
            raise Stopped
        return list(process(chunk))

    chunks = [batch[start : start + chunk_size] for start in range(0, len(batch), chunk_size)]
    with ThreadPoolExecutor(workers) as pool:
        for results in pool.map(results_of, chunks):
            yield from results
