"""Signatures: what `dedup` holds in memory for every text instead of the text itself.

N-gram sets, MinHash band keys and bit sketches. Two sets of Jaccard similarity s share a key in
some band with probability 1 - (1 - s**rows)**bands (Broder 1997; banding: Leskovec et al., Mining
of Massive Datasets, 3.4). Keys have 32 bits, so a text takes 4 bytes per band.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled, is_plain
from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.dedup import plain
from megastyle_cli.dedup.config import NearConfig
from megastyle_cli.dedup.near import NgramSets
from megastyle_cli.dedup.ngrams import ngram_sets

Array = npt.NDArray[Any]

SKETCH_WORDS = 2  # 64-bit words per sketch
_MAX = np.uint32(0xFFFFFFFF)
_GOLDEN = np.uint32(0x9E3779B1)
_S15 = np.uint32(15)


@dataclass(frozen=True)
class Signatures:
    """N-gram sets, MinHash keys and sketches of a block of n texts."""

    hashes: Array  # (m,) uint32
    starts: Array  # (n + 1,) int64
    bands: Array  # (bands, n) uint32
    sketches: Array  # (n, SKETCH_WORDS) uint64


def compute_signatures(texts: StringArray, config: NearConfig | None) -> Signatures:
    """The signatures of normalized texts, each a function of its text; empty if `config` is None.

    A top-level function, so that engines can run it on their workers.
    """
    if config is None:
        n = len(texts)
        return Signatures(
            hashes=np.empty(0, np.uint32),
            starts=np.zeros(n + 1, np.int64),
            bands=np.empty((0, n), np.uint32),
            sketches=np.zeros((n, SKETCH_WORDS), np.uint64),
        )
    hashes, starts = ngram_sets(texts, config.ngram, config.of)
    functions = hash_functions(config.bands, config.band_rows, config.seed)
    bands = band_keys(hashes, starts, functions, config.bands)
    return Signatures(hashes, starts, bands, sketches(hashes, starts))


def hash_functions(bands: int, rows: int, seed: int) -> Array:
    """Odd factors and offsets of rows * bands random maps of 32 bits, (2, rows * bands) uint32."""
    functions = np.random.default_rng(seed).integers(0, 1 << 32, (2, rows * bands), np.uint32)
    functions[0] |= np.uint32(1)
    return functions


def band_keys(hashes: Array, starts: Array, functions: Array, bands: int) -> Array:
    """The key of each text in each band, (bands, n) uint32, from its minimum n-gram hashes."""
    if is_plain():
        return _mix_bands(plain.least_hashes(hashes, starts, *functions), bands)
    keys = np.empty((bands, len(starts) - 1), np.uint32)
    _fill_keys(hashes, starts, functions[0], functions[1], keys)
    return keys


def sketches(hashes: Array, starts: Array) -> Array:
    """A bit set of each text's n-gram hashes modulo its size, (n, SKETCH_WORDS) uint64.

    Two sketches differ in at most as many bits as their sets differ in n-grams. Comparing them
    rejects dissimilar pairs cheaply and never rejects a similar one.
    """
    bits = np.zeros((len(starts) - 1, SKETCH_WORDS), np.uint64)
    if is_plain():
        text, bit = np.repeat(np.arange(len(bits)), np.diff(starts)), hashes % (64 * SKETCH_WORDS)
        np.bitwise_or.at(bits, (text, bit >> 6), np.uint64(1) << (bit & 63).astype(np.uint64))
    else:
        _fill_sketches(hashes, starts, bits)
    return bits


def _mix_bands(least: Array, bands: int) -> Array:
    """The keys (bands, n) from the least hashes (n, rows * bands), a row of all bands at a time."""
    keys = np.full((len(least), bands), _GOLDEN, np.uint32)
    for start in range(0, least.shape[1], bands):
        mixed = (keys ^ least[:, start : start + bands]) * _GOLDEN
        keys = mixed ^ (mixed >> _S15)
    return np.ascontiguousarray(keys.T)


class GrowableArray:
    """A numpy array that grows at the end, with at most an eighth of unused capacity."""

    def __init__(self, dtype: npt.DTypeLike, *width: int) -> None:
        self._rows = np.empty((0, *width), dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def extend(self, rows: Array) -> None:
        """Appends `rows` (n, *width)."""
        needed = self._count + len(rows)
        if needed > len(self._rows):
            capacity = max(needed, len(self._rows) * 9 // 8)
            # in place: the system remaps the pages of a large array instead of copying them
            self._rows.resize((capacity, *self._rows.shape[1:]), refcheck=False)
        self._rows[self._count : needed] = rows
        self._count = needed

    def rows(self) -> Array:
        """All rows (n, *width), as a view: nothing may be appended afterwards."""
        return self._rows[: self._count]


class SignatureStore:
    """The signatures of n records with u distinct texts, which are numbered as they appear."""

    def __init__(self, config: NearConfig | None) -> None:
        self.text_numbers = GrowableArray(np.int32)  # (n,) the text of each record
        self.lengths = GrowableArray(np.int32)  # (n,) in characters
        self.first_records = GrowableArray(np.int64)  # (u,) the first record of each text
        self.hashes = GrowableArray(np.uint32)
        self.sizes = GrowableArray(np.int32)  # (u,) n-grams of each text
        bands = 0 if config is None else config.bands
        self.bands = [np.empty((bands, 0), np.uint32)]  # by block: one array is slow to grow
        self.sketches = GrowableArray(np.uint64, SKETCH_WORDS)
        self.seconds = 0.0  # that collecting them took

    @property
    def num_texts(self) -> int:
        """The number u of distinct texts."""
        return len(self.first_records)

    def add_records(self, text_numbers: Array, lengths: Array) -> Array:
        """Adds records by the number (m,) of their text, where new texts get the next numbers.

        Returns which of these records (k,) are the first of their text.
        """
        so_far = np.maximum.accumulate(np.append(self.num_texts - 1, text_numbers))
        first = np.flatnonzero(text_numbers > so_far[:-1])
        self.first_records.extend(first + len(self.text_numbers))
        self.text_numbers.extend(text_numbers)
        self.lengths.extend(lengths)
        return first

    def add_signatures(self, block: Signatures) -> None:
        """Adds the signatures of the next distinct texts."""
        self.hashes.extend(block.hashes)
        self.sizes.extend(np.diff(block.starts))
        # a copy if Ray gives a view, which would keep the whole block in its store
        self.bands.append(np.require(block.bands, requirements="O"))
        self.sketches.extend(block.sketches)

    def band_keys(self) -> Iterator[Array]:
        """The keys (u,) uint32 of each band; the store releases them after the last."""
        for band in range(len(self.bands[0])):
            yield np.concatenate([block[band] for block in self.bands])
        self.bands.clear()

    def ngram_sets(self) -> NgramSets:
        """The n-gram sets and sketches of all texts."""
        starts = np.zeros(self.num_texts + 1, np.int64)
        np.cumsum(self.sizes.rows(), out=starts[1:])
        return NgramSets(self.hashes.rows(), starts, self.sketches.rows())


@compiled
def _fill_keys(hashes: Array, starts: Array, factors: Array, offsets: Array, keys: Array) -> None:
    bands, texts = keys.shape
    size = len(factors)
    least = np.empty(size, np.uint32)
    key = np.empty(bands, np.uint32)
    for text in range(texts):
        low, high = starts[text], starts[text + 1]
        least[:] = _MAX
        at = low
        while at + 4 <= high:  # four at a time: each minimum is loaded and stored once for them
            one, two, three, four = hashes[at], hashes[at + 1], hashes[at + 2], hashes[at + 3]
            for i in range(size):
                first = min(
                    np.uint32(one * factors[i] + offsets[i]),
                    np.uint32(two * factors[i] + offsets[i]),
                )
                second = min(
                    np.uint32(three * factors[i] + offsets[i]),
                    np.uint32(four * factors[i] + offsets[i]),
                )
                least[i] = min(least[i], min(first, second))
            at += 4
        while at < high:
            one = hashes[at]
            for i in range(size):
                least[i] = min(least[i], np.uint32(one * factors[i] + offsets[i]))
            at += 1
        key[:] = _GOLDEN
        for start in range(0, size, bands):
            for band in range(bands):
                mixed = np.uint32((key[band] ^ least[start + band]) * _GOLDEN)
                key[band] = mixed ^ (mixed >> _S15)
        for band in range(bands):
            keys[band, text] = key[band]


@compiled
def _fill_sketches(hashes: Array, starts: Array, bits: Array) -> None:
    num_bits = np.uint32(64 * bits.shape[1])
    for text in range(len(starts) - 1):
        for at in range(starts[text], starts[text + 1]):
            bit = hashes[at] % num_bits
            bits[text, bit >> 6] |= np.uint64(1) << np.uint64(bit & 63)
