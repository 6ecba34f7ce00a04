"""One batch is read ahead; results and errors come in order."""

from threading import Event

import pytest

from megastyle_cli.io.read_ahead import read_ahead


@pytest.mark.parametrize("is_ahead", [True, False])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_results_come_in_order(is_ahead: bool, count: int) -> None:
    read = read_ahead(range(count), lambda batch: 10 * batch, is_ahead=is_ahead)

    assert list(read) == [(batch, 10 * batch) for batch in range(count)]


def test_the_next_batch_is_read_while_one_is_used() -> None:
    begun = [Event() for _ in range(4)]

    def read(batch: int) -> int:
        begun[batch].set()
        return batch

    results = read_ahead(range(4), read, is_ahead=True)

    assert next(results) == (0, 0) and begun[1].wait(timeout=10) and not begun[2].is_set()
    results.close()


def test_an_error_is_raised_in_the_place_of_its_batch() -> None:
    results = read_ahead([1, 0, 2], lambda batch: 1 // batch, is_ahead=True)

    assert next(results) == (1, 1)
    with pytest.raises(ZeroDivisionError):
        next(results)
