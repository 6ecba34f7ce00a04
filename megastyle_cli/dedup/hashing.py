"""64-bit hash primitives, and a hash table in flat arrays that numbers distinct keys."""

from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled

Array = npt.NDArray[Any]

_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31 = np.uint64(27), np.uint64(30), np.uint64(31)


@compiled
def mix(value: Any) -> Any:
    """A bijective mix of 64 bits: every input bit affects every output bit.

    Source: the finalizer of SplitMix64 (Steele et al. 2014).
    """
    value = (value ^ (value >> _S30)) * _FIRST
    value = (value ^ (value >> _S27)) * _SECOND
    return value ^ (value >> _S31)


@compiled
def load_word(eight: Array) -> Any:
    """Eight bytes as one little-endian 64-bit word."""
    word = np.uint64(0)
    for step in range(8):  # compiled to one load: indices counted from 0 need no bounds check
        word |= np.uint64(eight[step]) << np.uint64(8 * step)
    return word


class HashIndex:
    """Numbers 128-bit keys in order of first appearance.

    Open addressing, at most half full: 16 bytes per key, 4 per slot and no Python objects.
    """

    def __init__(self) -> None:
        self._keys = np.empty((1024, 2), np.uint64)
        self._slots = np.full(4096, -1, np.int32)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, keys: Array) -> Array:
        """The number of each of `keys` (n, 2) uint64, as (n,) int32; new keys get the next ones."""
        needed = self._count + len(keys)
        if needed > len(self._keys):
            grown = np.empty((max(needed, 3 * len(self._keys) // 2), 2), np.uint64)
            grown[: self._count] = self._keys[: self._count]
            self._keys = grown
        if 2 * needed > len(self._slots):
            size = 1 << int(2 * needed - 1).bit_length()
            self._slots = np.full(size, -1, np.int32)
            _rehash(self._keys[: self._count], self._slots)
        numbers = np.empty(len(keys), np.int32)
        self._count = _add(keys, self._keys, self._slots, self._count, numbers)
        return numbers


@compiled
def _rehash(keys: Array, slots: Array) -> None:
    last = np.uint64(len(slots) - 1)
    for number in range(len(keys)):
        slot = keys[number, 0] & last
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & last
        slots[slot] = number


@compiled
def _add(new: Array, keys: Array, slots: Array, count: int, numbers: Array) -> int:
    last = np.uint64(len(slots) - 1)
    for row in range(len(new)):
        slot = new[row, 0] & last
        while True:
            number = slots[slot]
            if number < 0:
                slots[slot] = number = count
                keys[count, 0] = new[row, 0]
                keys[count, 1] = new[row, 1]
                count += 1
                break
            if keys[number, 0] == new[row, 0] and keys[number, 1] == new[row, 1]:
                break
            slot = (slot + np.uint64(1)) & last
        numbers[row] = number
    return count
