"""Batches processed side by side, for work that waits for a server; results in input order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from megastyle_cli.runner.signals import NEVER, Stopped, StopSignal

AHEAD = 8  # batches that a worker may be ahead of the oldest unfinished one: results, not images

Item = TypeVar("Item")
Result = TypeVar("Result")


def concurrent_results(
    process: Callable[[Item], Iterable[Result]],
    items: Iterator[Item],
    workers: int,
    stop: StopSignal,
) -> Iterator[Iterator[Result]]:
    """The results of `process` for each item, in order, from `workers` threads.

    What `process` raises for an item rises when its results are read. No worker waits for the
    others at the end of an item; a slow one holds back at most AHEAD items for each worker. Once
    `stop` is requested, what has not begun is dropped. Batches of a `MapJob` must hold one record
    each: with later ones under way it cannot divide one and keep the order.
    """
    running: deque[Future[list[Result]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                running.append(pool.submit(_all, process, item))
                while running and (running[0].done() or len(running) >= AHEAD * workers):
                    yield _results(running.popleft())
            while running:
                if stop.requested:
                    pool.shutdown(wait=False, cancel_futures=True)
                oldest = running.popleft()
                if oldest.cancelled():
                    return
                yield _results(oldest)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


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


def _all(process: Callable[[Item], Iterable[Result]], item: Item) -> list[Result]:
    return list(process(item))


def _results(future: Future[list[Result]]) -> Iterator[Result]:
    yield from future.result()
