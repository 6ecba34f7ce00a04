"""MinHash bands and sketches keep their promises."""

import numpy as np
import pytest

from megastyle_cli.dedup.minhash import band_keys, hash_functions, sketches


def plain_keys(hashes: np.ndarray, functions: np.ndarray, bands: int) -> list[int]:
    """The keys of one text by definition: the minima of a band, folded into 32 bits."""
    mask = 0xFFFFFFFF
    least = [
        min((int(value) * int(factor) + int(offset)) & mask for value in hashes)
        for factor, offset in functions.T
    ]
    keys = []
    for band in range(bands):
        key = 0x9E3779B1
        for value in least[band::bands]:
            mixed = ((key ^ value) * 0x9E3779B1) & mask
            key = mixed ^ (mixed >> 15)
        keys.append(key)
    return keys


@pytest.mark.parametrize(("bands", "rows"), [(1, 1), (4, 3), (20, 13)])
def test_keys_are_those_of_the_definition(bands: int, rows: int) -> None:
    rng = np.random.default_rng(bands)
    sizes = [1, 2, 3, 4, 5, 7, 8, 9, 40]
    hashes = rng.integers(0, 1 << 32, sum(sizes), np.uint32)
    starts = np.append(0, np.cumsum(sizes))
    functions = hash_functions(bands, rows, seed=3)

    keys = band_keys(hashes, starts, functions, bands)

    for text, (low, high) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
        assert keys[:, text].tolist() == plain_keys(hashes[low:high], functions, bands)


def test_hash_functions_are_bijections_set_by_the_seed() -> None:
    functions = hash_functions(8, 4, seed=0)

    assert functions.shape == (2, 32)
    assert (functions[0] % 2 == 1).all()  # an odd factor has an inverse modulo 2**32
    assert np.array_equal(functions, hash_functions(8, 4, seed=0))
    assert not np.array_equal(functions, hash_functions(8, 4, seed=1))


def test_a_pair_shares_a_band_as_often_as_minhash_promises() -> None:
    rng = np.random.default_rng(3)
    similarity, bands, rows, trials = 0.6, 8, 4, 1500
    shared, own = 45, 15  # 45 / (45 + 2 * 15)
    found = 0
    for _ in range(trials):
        drawn = rng.choice(1 << 32, shared + 2 * own, replace=False).astype(np.uint32)
        one, two = np.sort(drawn[: shared + own]), np.sort(np.append(drawn[:shared], drawn[60:]))
        starts = np.array([0, 60, 120])
        keys = band_keys(np.append(one, two), starts, hash_functions(8, 4, 0), bands)
        found += bool((keys[:, 0] == keys[:, 1]).any())
    expected = 1 - (1 - similarity**rows) ** bands

    assert abs(found / trials - expected) < 4 * np.sqrt(expected * (1 - expected) / trials)


def test_a_sketch_has_the_bit_of_each_hash_and_no_other() -> None:
    hashes = np.random.default_rng(0).integers(0, 1 << 32, 60, np.uint32)
    starts = np.array([0, 1, 20, 60])

    bits = sketches(hashes, starts)

    for text, (low, high) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
        value = int(bits[text, 0]) | int(bits[text, 1]) << 64
        assert value == sum(1 << bit for bit in {int(one) % 128 for one in hashes[low:high]})
