"""Sets of grams to keys of MinHash bands: similar sets share a key in some band.

A pair of Jaccard similarity s shares one with probability 1 - (1 - s**rows)**bands (Broder 1997;
banding: Leskovec et al., Mining of Massive Datasets, 3.4). Keys are 32 bits, 4 bytes a band.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled

Array = npt.NDArray[Any]

SKETCH = 2  # 64-bit words of a sketch
_TOP = np.uint32(0xFFFFFFFF)
_GOLDEN = np.uint32(0x9E3779B1)
_S15, _S32 = np.uint32(15), np.uint64(32)


def hash_functions(bands: int, rows: int, seed: int) -> Array:
    """(2, rows * bands) uint32: factors, odd, and offsets of as many random maps of 32 bits."""
    drawn = np.random.default_rng(seed).integers(0, 1 << 32, (2, rows * bands), np.uint32)
    drawn[0] |= np.uint32(1)
    return drawn


def band_keys(grams: Array, starts: Array, functions: Array, bands: int) -> Array:
    """(bands, n) uint32: the key of each text in each band, from its grams' least hashes."""
    keys = np.empty((bands, len(starts) - 1), np.uint32)
    _fill_keys(grams, starts, functions[0], functions[1], keys)
    return keys


def sketches(grams: Array, starts: Array) -> Array:
    """(n, SKETCH) uint64: the grams of each text as bits, each at the place its hash says.

    Two sketches differ in no more places than their sets differ in grams, so they tell cheaply
    and without error that two sets are not similar.
    """
    bits = np.zeros((len(starts) - 1, SKETCH), np.uint64)
    _fill_sketches(grams, starts, bits)
    return bits


@compiled
def _fill_keys(grams: Array, starts: Array, factors: Array, offsets: Array, keys: Array) -> None:
    bands, texts = keys.shape
    size = len(factors)
    least = np.empty(size, np.uint32)
    key = np.empty(bands, np.uint32)
    for text in range(texts):
        low, high = starts[text], starts[text + 1]
        least[:] = _TOP
        at = low
        while at + 4 <= high:  # four at a time: a hash is loaded and stored once for them
            one, two, three, four = grams[at], grams[at + 1], grams[at + 2], grams[at + 3]
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
            one = grams[at]
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
def _fill_sketches(grams: Array, starts: Array, bits: Array) -> None:
    places = np.uint32(64 * bits.shape[1])
    for text in range(len(starts) - 1):
        for at in range(starts[text], starts[text + 1]):
            place = grams[at] % places
            bits[text, place >> 6] |= np.uint64(1) << np.uint64(place & 63)
