"""MinHash band keys and bit sketches of n-gram sets.

Two sets of Jaccard similarity s share a key in some band with probability
1 - (1 - s**rows)**bands (Broder 1997; banding: Leskovec et al., Mining of Massive Datasets, 3.4).
Keys have 32 bits, so a text takes 4 bytes per band.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled

Array = npt.NDArray[Any]

SKETCH_WORDS = 2  # 64-bit words per sketch
_MAX = np.uint32(0xFFFFFFFF)
_GOLDEN = np.uint32(0x9E3779B1)
_S15 = np.uint32(15)


def hash_functions(bands: int, rows: int, seed: int) -> Array:
    """Odd factors and offsets of rows * bands random maps of 32 bits, (2, rows * bands) uint32."""
    functions = np.random.default_rng(seed).integers(0, 1 << 32, (2, rows * bands), np.uint32)
    functions[0] |= np.uint32(1)
    return functions


def band_keys(hashes: Array, starts: Array, functions: Array, bands: int) -> Array:
    """The key of each text in each band, (bands, n) uint32, from its minimum n-gram hashes."""
    keys = np.empty((bands, len(starts) - 1), np.uint32)
    _fill_keys(hashes, starts, functions[0], functions[1], keys)
    return keys


def sketches(hashes: Array, starts: Array) -> Array:
    """A bit set of each text's n-gram hashes modulo its size, (n, SKETCH_WORDS) uint64.

    Two sketches differ in at most as many bits as their sets differ in n-grams. Comparing them
    rejects dissimilar pairs cheaply and never rejects a similar one.
    """
    bits = np.zeros((len(starts) - 1, SKETCH_WORDS), np.uint64)
    _fill_sketches(hashes, starts, bits)
    return bits


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
