"""The first place of every key, 16 bytes a key and a slot or two of four: no Python objects."""

from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled

Array = npt.NDArray[Any]


class KeySet:
    """Keys by the number in which they came first; at most half of the slots are taken."""

    def __init__(self) -> None:
        self._keys = np.empty((1024, 2), np.uint64)
        self._slots = np.full(4096, -1, np.int32)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, keys: Array) -> Array:
        """(n,) int32: the number of each of `keys` (n, 2) uint64; new ones count on."""
        needed = self._count + len(keys)
        if needed > len(self._keys):
            grown = np.empty((max(needed, 3 * len(self._keys) // 2), 2), np.uint64)
            grown[: self._count] = self._keys[: self._count]
            self._keys = grown
        if 2 * needed > len(self._slots):
            size = 1 << int(2 * needed - 1).bit_length()
            self._slots = np.full(size, -1, np.int32)
            _place_all(self._keys[: self._count], self._slots)
        numbers = np.empty(len(keys), np.int32)
        self._count = _add(keys, self._keys, self._slots, self._count, numbers)
        return numbers


@compiled
def _place_all(keys: Array, slots: Array) -> None:
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
