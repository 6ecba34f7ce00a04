"""Work spread over cores: in order, with its errors."""

import os
import threading

import pytest

from megastyle_cli.core.parallel import parallel_map, usable_cores


def test_results_come_in_the_order_of_the_items() -> None:
    assert parallel_map(str, range(100)) == [str(n) for n in range(100)]
    assert parallel_map(str, []) == []


def test_an_error_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        parallel_map(lambda n: 1 // n, [1, 1, 0, 1])


def test_only_the_cores_of_this_process_count() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
        threads = {thread for thread in parallel_map(lambda _: threading.get_ident(), range(9))}
    finally:
        os.sched_setaffinity(0, before)

    assert threads == {threading.get_ident()}
