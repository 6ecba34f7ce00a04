"""Hash primitives equal their definitions."""

import numpy as np

from megastyle_cli.compute.string_array import load_word, mix

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
