"""What is stored of texts: numbered once, in little space, with MinHash bands and sketches."""

from dataclasses import replace

import numpy as np
import pytest

from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.dedup.config import NearConfig
from megastyle_cli.dedup.signatures import (
    GrowableArray,
    SignatureStore,
    band_keys,
    compute_signatures,
    hash_functions,
    sketches,
)
from tests.dedup.helpers import prompts


@pytest.mark.parametrize("width", [(), (2,)])
def test_a_growable_array_holds_what_was_appended_in_little_more_space(width: tuple[int]) -> None:
    sizes = (0, 1, 5, 1000, 0, *[1] * 300, 130, 7)
    parts = [np.random.default_rng(n).random((n, *width)) for n in sizes]
    array = GrowableArray(np.float64, *width)
    capacities = set()

    for part in parts:
        array.extend(part)
        capacities.add(len(array._rows))
        assert len(array) <= len(array._rows) <= len(array) * 9 / 8

    expected = np.concatenate(parts)
    assert len(array) == len(expected) and np.array_equal(array.rows(), expected)
    assert len(capacities) < 10  # and does not grow at every step


def test_records_are_numbered_by_text_and_the_first_of_each_is_remembered() -> None:
    store = SignatureStore(None)
    blocks = ([0, 1, 0, 2], [2, 3, 1, 4, 4], [], [0], [5])

    firsts = [
        store.add_records(np.array(block, np.int32), np.full(len(block), 9)).tolist()
        for block in blocks
    ]

    assert firsts == [[0, 1, 3], [1, 3], [], [], [0]]
    assert store.num_texts == 6
    assert store.text_numbers.rows().tolist() == [number for block in blocks for number in block]
    assert store.first_records.rows().tolist() == [0, 1, 3, 5, 7, 10]
    assert len(store.lengths) == 11


@pytest.mark.parametrize("near", [NearConfig(), NearConfig(ngram=3, of="characters", bands=3)])
def test_a_store_of_many_blocks_equals_one_of_all_texts(near: NearConfig) -> None:
    texts = prompts(100, seed=0)
    whole, store = (SignatureStore(near) for _ in range(2))
    whole.add_records(np.arange(100), np.zeros(100))
    whole.add_signatures(compute_signatures(StringArray.from_strings(texts), near))

    for start in range(0, 100, 7):
        some = texts[start : start + 7]
        store.add_records(np.arange(start, start + len(some)), np.zeros(len(some)))
        store.add_signatures(compute_signatures(StringArray.from_strings(some), near))

    for name, value in vars(whole.ngram_sets()).items():
        assert np.array_equal(getattr(store.ngram_sets(), name), value), name
    keys = list(whole.band_keys())
    assert len(keys) == near.bands
    assert all(map(np.array_equal, store.band_keys(), keys))


def test_bands_are_released_once_they_are_read() -> None:
    store = SignatureStore(NearConfig())
    store.add_signatures(compute_signatures(StringArray.from_strings(["a b"]), NearConfig()))

    assert len(list(store.band_keys())) == 32

    assert not store.bands


def test_a_stored_block_keeps_no_view_of_the_shared_memory_it_came_from() -> None:
    near = NearConfig()
    store = SignatureStore(near)
    block = compute_signatures(StringArray.from_strings(["one two three", "four five"]), near)
    bands = np.frombuffer(block.bands.tobytes(), np.uint32).reshape(block.bands.shape)

    store.add_signatures(replace(block, bands=bands))  # a view, as Ray returns it

    assert all(stored.flags.owndata for stored in store.bands)


def test_without_the_near_stage_no_ngram_is_stored() -> None:
    store = SignatureStore(None)
    store.add_records(np.arange(2), np.array([3, 4]))

    store.add_signatures(compute_signatures(StringArray.from_strings(["a b c", "d"]), None))

    ngrams = store.ngram_sets()
    assert len(ngrams.hashes) == 0 and ngrams.starts.tolist() == [0, 0, 0]
    assert list(store.band_keys()) == []


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
