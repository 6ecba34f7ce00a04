"""Images are mapped in order, with BLAS on one thread meanwhile."""

import pytest
from threadpoolctl import threadpool_info

from megastyle_cli.models.builtin.map_images import map_images


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_results_come_in_order_and_blas_has_one_thread_meanwhile() -> None:
    before = blas_threads()

    found = map_images(lambda n: (n, blas_threads()), range(9))

    assert [n for n, _ in found] == list(range(9))
    assert all(threads <= {1} for _, threads in found)
    assert blas_threads() == before


def test_an_error_of_one_image_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        map_images(lambda n: 1 // n, [2, 1, 0])
