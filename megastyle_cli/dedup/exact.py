"""When two texts are the same: their normal form, and keys that only equal texts share.

Everything runs over one buffer of bytes a block. What a text gives depends on it alone.
"""

import unicodedata
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled
from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.dedup.hashing import load, mix

Array = npt.NDArray[Any]

_ODD, _S32 = np.uint64(0x9FB21C651E98DF25), np.uint64(32)
_SEEDS = np.array([0x9E3779B97F4A7C15, 0xD1B54A32D192ED03], np.uint64)


def normalized(text: str) -> str:
    """`text` in Unicode form NFKC, case-folded, each run of white space one space, ends trimmed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def normalized_buffer(texts: StringArray) -> StringArray:
    """The texts `normalized`."""
    whole = _folded(texts)
    data, starts = np.empty_like(whole.data), np.empty_like(whole.starts)
    used = _tidy(whole.data, whole.starts, data, starts)
    return StringArray(data[:used], starts)


def num_characters(texts: StringArray) -> Array:
    """(n,) int32: characters of each text."""
    counts = np.empty(len(texts), np.int32)
    _count_characters(texts.data, texts.starts, counts)
    return counts


def keys_of(buffer: StringArray) -> Array:
    """(n, 2) uint64: a 128-bit key of each text; equal keys are taken for equal texts."""
    keys = np.empty((len(buffer), 2), np.uint64)
    _hash_texts(buffer.data, buffer.starts, keys)
    return keys


def _folded(texts: StringArray) -> StringArray:
    """The texts, those beyond ASCII normalized."""
    if not texts.data.size or texts.data.max() < 128:
        return texts
    return StringArray.from_bytes(text if text.isascii() else _normalized(text) for text in texts)


def _normalized(text: bytes) -> bytes:
    told = normalized(text.decode("utf-8", "surrogatepass"))
    return told.encode("utf-8", "surrogatepass")


@compiled
def _count_characters(data: Array, starts: Array, counts: Array) -> None:
    for text in range(len(counts)):
        count = 0
        for byte in data[starts[text] : starts[text + 1]]:
            count += (byte & 0xC0) != 0x80  # all but the later bytes of a character
        counts[text] = count


@compiled
def _tidy(data: Array, starts: Array, out: Array, out_starts: Array) -> int:
    """ASCII letters lower-case, each run of ASCII white space one space, ends trimmed."""
    used = 0
    out_starts[0] = 0
    for text in range(len(starts) - 1):
        part = data[starts[text] : starts[text + 1]]
        used += _lower(part, out[used:]) if _is_tidy(part) else _collapse(part, out[used:])
        out_starts[text + 1] = used
    return used


@compiled
def _is_tidy(text: Array) -> bool:
    """Whether its only white space is single spaces inside."""
    size = len(text)
    if size and (text[0] == 32 or text[size - 1] == 32):
        return False
    is_tidy = True
    for at in range(size):
        byte = text[at]
        is_tidy &= (byte >= 32) | (byte < 9) | ((byte > 13) & (byte < 28))
    for at in range(1, size):
        is_tidy &= (text[at] != 32) | (text[at - 1] != 32)
    return is_tidy


@compiled
def _lower(text: Array, out: Array) -> int:
    place = out[: len(text)]
    for at in range(len(text)):
        byte = text[at]
        place[at] = byte + 32 * ((byte >= 65) & (byte <= 90))
    return len(text)


@compiled
def _collapse(text: Array, out: Array) -> int:
    used = 0
    is_apart = False
    for byte in text:
        if byte == 32 or 9 <= byte <= 13 or 28 <= byte <= 31:
            is_apart = True
            continue
        if is_apart and used > 0:
            out[used] = 32
            used += 1
        is_apart = False
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
            word = mix(load(part[at : at + 8]))  # which waits for no word before
            one, two = _stirred(one ^ word), _stirred(two + word)
        if size >= 8:
            word = load(part[size - 8 :])  # once more what is there, rather than byte by byte
        else:
            word = np.uint64(0)
            for at in range(size):
                word |= np.uint64(part[at]) << np.uint64(8 * at)
        keys[text, 0], keys[text, 1] = mix(one ^ word), mix(two ^ word)


@compiled
def _stirred(value: Any) -> Any:
    """A quick one-to-one map of 64 bits: each word waits for that of the one before."""
    value = value * _ODD
    return value ^ (value >> _S32)
