"""Batches grow while they are quick, and are small where they are slow."""

import pytest

from megastyle_cli.runner.adaptive_batch_size import TARGET_S, AdaptiveBatchSize


def sizes(seconds_each: float, most: int, least: int = 1, batches: int = 12) -> list[int]:
    """The sizes of batches of a backend that takes so long for a record."""
    size = AdaptiveBatchSize(most, least)
    found = []
    for _ in range(batches):
        found.append(size.current)
        size.update(size.current, seconds_each * size.current)
    return found


def test_batches_of_a_quick_backend_double_up_to_the_most() -> None:
    assert sizes(0.001, most=20)[:7] == [1, 2, 4, 8, 16, 20, 20]


@pytest.mark.parametrize("seconds_each", [0.3, 1.0, 4.0, 9.0, 60.0])
def test_no_batch_takes_much_longer_than_the_target(seconds_each: float) -> None:
    found = sizes(seconds_each, most=64)

    assert max(found) == 1 or max(found) * seconds_each <= TARGET_S
    assert found[-1] == found[-2] == max(found)


def test_batches_of_a_backend_that_becomes_slow_shrink() -> None:
    size = AdaptiveBatchSize(32, least=32)
    size.least = 1
    size.update(32, 32 * 9.0)
    assert size.current == 16
    for _ in range(4):
        size.update(size.current, size.current * 9.0)
    assert size.current == 1


def test_a_batch_has_at_least_what_fills_a_model_however_long_that_takes() -> None:
    assert set(sizes(9.0, most=32, least=8)) == {8}
    assert AdaptiveBatchSize(4, least=8).current == 4


def test_a_batch_that_was_not_whole_says_nothing_about_larger_ones() -> None:
    size = AdaptiveBatchSize(32, least=8)
    size.update(3, 0.1)
    assert size.current == 8


def test_each_batch_has_the_size_that_is_current_when_it_begins() -> None:
    size = AdaptiveBatchSize(4)
    found = []
    for batch in size.batches(range(10)):
        found.append(batch)
        size.update(len(batch), 0.0)

    assert found == [[0], [1, 2], [3, 4, 5, 6], [7, 8, 9]]
