"""A hash index numbers keys as a dictionary does."""

import numpy as np
import pytest

from megastyle_cli.dedup.hash_index import HashIndex


@pytest.mark.parametrize("block", [1, 777, 20_000])
@pytest.mark.parametrize("distinct", [30, 300])
def test_keys_are_numbered_as_a_dictionary_numbers_them(block: int, distinct: int) -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, distinct, (20_000, 2)).astype(np.uint64)[: 40 * block]
    numbers: dict[tuple[int, ...], int] = {}
    known = HashIndex()

    for start in range(0, len(keys), block):
        some = keys[start : start + block]
        expected = [numbers.setdefault(tuple(key), len(numbers)) for key in some.tolist()]
        assert known.add(some).tolist() == expected

    assert len(known) == len(numbers)


def test_keys_that_fall_in_one_slot_stay_apart() -> None:
    keys = np.array([[row << 40, 7] for row in range(5000)] * 2, np.uint64)  # equal low bits

    assert HashIndex().add(keys).tolist() == [*range(5000)] * 2


def test_keys_of_equal_first_halves_stay_apart() -> None:
    keys = np.array([[1, 2], [1, 3], [2, 2], [1, 2]], np.uint64)

    assert HashIndex().add(keys).tolist() == [0, 1, 2, 0]
