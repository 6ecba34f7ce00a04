"""Hash primitives equal their definitions, and a hash index numbers keys as a dictionary does."""

import numpy as np
import pytest

from megastyle_cli.dedup.hashing import HashIndex, load_word, mix

MASK = (1 << 64) - 1


def splitmix64(value: int) -> int:
    """The finalizer of SplitMix64 as published."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def test_mix_is_the_finalizer_of_splitmix64() -> None:
    values = [0, 1, 2, MASK, *np.random.default_rng(0).integers(0, MASK, 200, np.uint64).tolist()]

    assert [int(mix(np.uint64(value))) for value in values] == [splitmix64(v) for v in values]


def test_a_word_is_eight_bytes_in_little_endian_order() -> None:
    data = np.random.default_rng(1).integers(0, 256, 8).astype(np.uint8)

    assert int(load_word(data)) == int.from_bytes(data.tobytes(), "little")


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
