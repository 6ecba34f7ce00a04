"""Concurrency within a batch: results in order, chunks side by side, exceptions raised."""

import threading

import pytest

from megastyle_cli.caption.concurrency import run_concurrently

RECORDS = [{"id": str(n)} for n in range(5)]


@pytest.mark.parametrize(("workers", "chunk_size"), [(1, 1), (1, 9), (3, 2), (8, 1)])
def test_workers_and_chunks_change_neither_results_nor_order(workers, chunk_size):
    sizes = []

    def step(records):
        chunk = list(records)
        sizes.append(len(chunk))
        for record in chunk:
            yield {**record, "is_done": True}

    results = list(run_concurrently(step, RECORDS, workers=workers, chunk_size=chunk_size))

    assert results == [{**record, "is_done": True} for record in RECORDS]
    assert sum(sizes) == 5 and max(sizes) <= chunk_size


def test_chunks_are_processed_at_the_same_time():
    barrier = threading.Barrier(4, timeout=10)

    def step(records):
        barrier.wait()  # breaks unless four threads arrive
        yield from records

    assert list(run_concurrently(step, RECORDS[:4], workers=4, chunk_size=1)) == RECORDS[:4]


def test_an_exception_of_a_chunk_is_raised():
    def step(records):
        raise KeyError(records[0]["id"])
        yield

    with pytest.raises(KeyError, match="0"):
        list(run_concurrently(step, RECORDS, workers=2, chunk_size=1))
