"""A hash table that numbers distinct 128-bit keys in order of first appearance.

16 bytes per key and at most 8 per slot, in flat arrays: no Python objects.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled

Array = npt.NDArray[Any]


class HashIndex:
    """Numbers 128-bit keys in order of first appearance; open addressing, at most half full."""

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
