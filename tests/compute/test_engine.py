"""Engines by name, and that of this process: order, errors, threads, the same bits."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from megastyle_cli.compute.engine import load_engine, parallel_map, text_batches, usable_cores
from megastyle_cli.core.errors import MegastyleError

Array = npt.NDArray[np.float32]


def scaled(item: int, factor: int = 1) -> int:
    return item * factor


def slow_first(item: int) -> int:
    time.sleep(0.02 * (item == 0))
    return item


def only_even(item: int) -> int:
    if item % 2:
        raise MegastyleError(f"{item} is odd", hint="give even ones")
    return item


def threads_in_use(item: int) -> set[int]:
    np.ones((64, 64)) @ np.ones((64, 64))
    return {library["num_threads"] for library in threadpool_info()}


def product(block: Array, other: Array) -> bytes:
    return (block @ other).tobytes()


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_items(workers: int) -> None:
    with load_engine("local", workers) as engine:
        assert list(engine.map(slow_first, range(20))) == list(range(20))


@pytest.mark.parametrize("workers", [1, 3])
def test_shared_values_reach_every_call(workers: int) -> None:
    with load_engine("local", workers) as engine:
        assert list(engine.map(scaled, range(7), 3)) == [0, 3, 6, 9, 12, 15, 18]


@pytest.mark.parametrize("workers", [1, 3])
def test_items_are_drawn_slightly_ahead_of_the_results(workers: int) -> None:
    drawn = 0

    def items() -> Iterator[int]:
        nonlocal drawn
        for item in range(1000):
            drawn += 1
            yield item

    with load_engine("local", workers) as engine:
        results = engine.map(scaled, items())
        for _ in range(10):
            next(results)

    assert drawn <= 10 + 2 * workers


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_follows_the_results_before_it(workers: int) -> None:
    with load_engine("local", workers) as engine:
        results = engine.map(only_even, [0, 2, 4, 5, 6])
        assert [next(results) for _ in range(3)] == [0, 2, 4]
        with pytest.raises(MegastyleError, match="5 is odd") as raised:
            next(results)

    assert raised.value.hint == "give even ones"


def test_an_abandoned_map_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with load_engine("local", 3) as engine:
        results = engine.map(scaled, range(1000))
        next(results)
        del results

    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("workers", [1, 2])
def test_a_call_runs_on_one_thread(workers: int) -> None:
    with threadpool_limits(2), load_engine("local", workers) as engine:
        assert threads_in_use(0) == {2}
        assert set().union(*engine.map(threads_in_use, range(8))) == {1}


# The first line is the number of threads of BLAS before a map, the others are those within.
LATE_IMPORT = """
from megastyle_cli.compute.engine import LocalEngine
from tests.compute.test_engine import threads_in_use

engine = LocalEngine(1)
list(engine.map(threads_in_use, range(1)))
import scipy.linalg
print(threads_in_use(0), *engine.map(threads_in_use, range(1)), sep="\\n")
"""


def test_a_library_that_is_loaded_after_the_first_map_is_limited_in_the_next() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LATE_IMPORT],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        check=True,
    )

    assert ended.stdout == b"{2}\n{1}\n"


def test_the_number_of_workers_does_not_change_results() -> None:
    rng = np.random.default_rng(0)
    blocks = [rng.normal(size=(50, 128)).astype(np.float32) for _ in range(9)]
    other = rng.normal(size=(128, 300)).astype(np.float32)

    results = []
    for workers in (1, 2, 4):
        with load_engine("local", workers) as engine:
            results.append(list(engine.map(product, engine.put(blocks), other)))

    assert results[0] == results[1] == results[2]


def test_the_local_engine_has_the_workers_asked_for() -> None:
    with load_engine("local", 3) as engine:
        assert engine.workers == 3
    with load_engine("local") as engine:
        assert engine.workers >= 1


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(MegastyleError, match="'dask'"):
        load_engine("dask")


def test_a_parallel_map_is_in_the_order_of_the_items() -> None:
    assert parallel_map(str, range(100)) == [str(n) for n in range(100)]
    assert parallel_map(str, []) == []


def test_an_error_of_a_parallel_map_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        parallel_map(lambda n: 1 // n, [1, 1, 0, 1])


def test_ranks_of_a_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    cores = usable_cores()

    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert usable_cores() == max(1, cores // 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(4 * cores))
    assert usable_cores() == 1


@pytest.mark.parametrize(
    ("own", "launcher", "ranks", "share"),
    [
        (192, 192, 8, 24),  # not bound
        (24, 192, 8, 24),  # bound to cores of its own: not divided again
        (96, 192, 8, 24),  # bound to a socket with three others
        (16, 16, 8, 2),  # a job of few cores
        (4, 192, 8, 4),  # bound to fewer
        (3, 3, 8, 1),
    ],
)
def test_a_rank_that_is_bound_to_cores_uses_them(
    monkeypatch: pytest.MonkeyPatch, own: int, launcher: int, ranks: int, share: int
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(own)))
    monkeypatch.setattr("megastyle_cli.compute.engine.launcher_cores", lambda: launcher)

    assert usable_cores() == share


def test_only_the_cores_of_this_process_count() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
        threads = {thread for thread in parallel_map(lambda _: threading.get_ident(), range(9))}
    finally:
        os.sched_setaffinity(0, before)

    assert threads == {threading.get_ident()}


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_blas_has_one_thread_meanwhile() -> None:
    before = blas_threads()

    found = parallel_map(lambda n: (n, blas_threads()), range(9), limits_blas=True)

    assert [n for n, _ in found] == list(range(9))
    assert all(threads <= {1} for _, threads in found)
    assert blas_threads() == before


def test_batches_of_texts_end_by_number_or_by_letters() -> None:
    texts = ["a", "bb", "ccc", "d" * 9, "", "e", "f"]

    found = list(text_batches(texts, 3, max_characters=5))

    assert found == [["a", "bb", "ccc"], ["d" * 9], ["", "e", "f"]]
    assert list(text_batches([], 3)) == []
