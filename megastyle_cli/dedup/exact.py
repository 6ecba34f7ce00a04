"""Exact duplicates: the normal form of a text, and 128-bit keys that only equal texts share.

All functions work on whole blocks of texts. What they return for a text depends on it alone.
"""

import unicodedata
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled, is_plain
from megastyle_cli.compute.string_array import StringArray, load_word, mix
from megastyle_cli.dedup import plain

Array = npt.NDArray[Any]

_ODD, _S32 = np.uint64(0x9FB21C651E98DF25), np.uint64(32)
_SEEDS = np.array([0x9E3779B97F4A7C15, 0xD1B54A32D192ED03], np.uint64)


def normalize(text: str) -> str:
    """`text` in Unicode form NFKC, case-folded, white space collapsed to single spaces, trimmed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def normalize_block(texts: StringArray) -> StringArray:
    """Each text as `normalize` returns it."""
    if is_plain():
        return StringArray.from_bytes(map(_normalize_utf8, texts))
    folded = _fold_non_ascii(texts)
    data, starts = np.empty_like(folded.data), np.empty_like(folded.starts)
    used = _normalize_ascii(folded.data, folded.starts, data, starts)
    return StringArray(data[:used], starts)


def count_characters(texts: StringArray) -> Array:
    """The number of characters (code points) of each text, (n,) int32."""
    if is_plain():
        return np.array([len(text.decode("utf-8", "surrogatepass")) for text in texts], np.int32)
    counts = np.empty(len(texts), np.int32)
    _count_characters(texts.data, texts.starts, counts)
    return counts


def text_keys(texts: StringArray) -> Array:
    """A 128-bit key of each text, (n, 2) uint64; texts with equal keys are taken as equal."""
    if is_plain():
        return plain.text_keys(texts)
    keys = np.empty((len(texts), 2), np.uint64)
    _hash_texts(texts.data, texts.starts, keys)
    return keys


def _fold_non_ascii(texts: StringArray) -> StringArray:
    """The texts, with those that contain other than ASCII characters normalized."""
    if not texts.data.size or texts.data.max() < 128:
        return texts
    return StringArray.from_bytes(
        text if text.isascii() else _normalize_utf8(text) for text in texts
    )


def _normalize_utf8(text: bytes) -> bytes:
    return normalize(text.decode("utf-8", "surrogatepass")).encode("utf-8", "surrogatepass")


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
def _count_characters(data: Array, starts: Array, counts: Array) -> None:
    for text in range(len(counts)):
        count = 0
        for byte in data[starts[text] : starts[text + 1]]:
            count += (byte & 0xC0) != 0x80  # not a UTF-8 continuation byte
        counts[text] = count


@compiled
def _normalize_ascii(data: Array, starts: Array, out: Array, out_starts: Array) -> int:
    """Lower-cases ASCII letters, collapses ASCII white space and trims; returns the bytes written.

    Non-ASCII bytes are copied.
    """
    used = 0
    out_starts[0] = 0
    for text in range(len(starts) - 1):
        part = data[starts[text] : starts[text + 1]]
        is_single_spaced = _is_single_spaced(part)
        used += _lower(part, out[used:]) if is_single_spaced else _collapse(part, out[used:])
        out_starts[text + 1] = used
    return used


@compiled
def _is_single_spaced(text: Array) -> bool:
    """Whether the only white space is single spaces between other characters."""
    size = len(text)
    if size and (text[0] == 32 or text[size - 1] == 32):
        return False
    is_single = True
    for at in range(size):
        byte = text[at]
        is_single &= (byte >= 32) | (byte < 9) | ((byte > 13) & (byte < 28))
    for at in range(1, size):
        is_single &= (text[at] != 32) | (text[at - 1] != 32)
    return is_single


@compiled
def _lower(text: Array, out: Array) -> int:
    target = out[: len(text)]
    for at in range(len(text)):
        byte = text[at]
        target[at] = byte + 32 * ((byte >= 65) & (byte <= 90))
    return len(text)


@compiled
def _collapse(text: Array, out: Array) -> int:
    used = 0
    is_after_space = False
    for byte in text:
        if byte == 32 or 9 <= byte <= 13 or 28 <= byte <= 31:
            is_after_space = True
            continue
        if is_after_space and used > 0:
            out[used] = 32
            used += 1
        is_after_space = False
        out[used] = byte + 32 if 65 <= byte <= 90 else byte
        used += 1
    return used


@compiled
def _hash_texts(data: Array, starts: Array, keys: Array) -> None:
    for text in range(len(starts) - 1):
        part = data[starts[text] : starts[text + 1]]
        size = len(part)
        one, two = mix(_SEEDS[0] + np.uint64(size)), mix(_SEEDS[1] + np.uint64(size))
        for at in range(0, size - 7, 8):
            word = mix(load_word(part[at : at + 8]))  # independent of the words before it
            one, two = _scramble(one ^ word), _scramble(two + word)
        if size >= 8:
            word = load_word(part[size - 8 :])  # overlaps the last word: faster than single bytes
        else:
            word = np.uint64(0)
            for at in range(size):
                word |= np.uint64(part[at]) << np.uint64(8 * at)
        keys[text, 0], keys[text, 1] = mix(one ^ word), mix(two ^ word)


@compiled
def _scramble(value: Any) -> Any:
    """A bijection of 64 bits, cheaper than `mix`: each call depends on the one before."""
    value = value * _ODD
    return value ^ (value >> _S32)


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
