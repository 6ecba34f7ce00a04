"""Concurrency within a batch: its chunks are processed by several threads, results in order."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from megastyle_cli.core.record import Failure, Record, Step


def run_concurrently(
    step: Step, records: Iterable[Record], *, workers: int, chunk_size: int
) -> Iterator[Record | Failure]:
    """The results of `step` on `records`, in order, from chunks that `workers` threads work on.

    `step` must be thread-safe. An exception it raises is raised here, and no further chunk starts.
    """
    batch = list(records)
    chunks = [batch[start : start + chunk_size] for start in range(0, len(batch), chunk_size)]
    with ThreadPoolExecutor(workers) as pool:
        for results in pool.map(lambda chunk: list(step(chunk)), chunks):
            yield from results
