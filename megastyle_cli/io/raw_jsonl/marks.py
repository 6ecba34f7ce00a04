"""The bytes of JSON lines that parsers stop at, and what they ask about the bytes between them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled
from megastyle_cli.core.record import BLANKS

Array = npt.NDArray[Any]

_CHUNK = 32  # bytes
_QUOTE, _BACKSLASH, _SPACE, _NEWLINE = b'"\\ \n'
_TRUE, _FALSE, _NULL = (np.frombuffer(word, np.uint8) for word in (b"true", b"false", b"null"))
# the bytes of blank characters: a text with any other byte is not blank
MAY_BE_BLANK = np.zeros(256, np.bool_)
MAY_BE_BLANK[list("".join(BLANKS).encode())] = True
FNV_PRIME, _FNV_BASIS = np.uint64(0x100000001B3), np.uint64(0xCBF29CE484222325)


def mark_lines(raw: Array) -> tuple[Array, Array, Array]:
    """Where `raw` (bytes,) uint8 has marks (m,) int64: quotes, backslashes and control bytes.

    Also the row (n,) of the mark that ends each of its lines, and the places (n + 1,) int64 where
    lines begin. Each line ends with a newline.
    """
    marks = np.empty(len(raw), np.int64)
    marks = marks[: _find_marks(raw, marks)]
    last = np.flatnonzero(raw[marks] == _NEWLINE)
    return marks, last, np.concatenate([np.zeros(1, np.int64), marks[last] + 1])


def is_utf8(data: bytes) -> bool:
    """Whether all of `data` is valid UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@compiled
def _find_marks(data: Array, marks: Array) -> int:
    """Where strings end or are not plain; returns how many places."""
    count = 0
    for start in range(0, len(data), _CHUNK):
        part = data[start : start + _CHUNK]
        has_mark = False
        for at in range(len(part)):  # most chunks have none
            has_mark |= _is_mark(part[at])
        if has_mark:
            for at in range(len(part)):
                marks[np.uint64(count)] = start + at
                count += _is_mark(part[at])
    return count


@compiled
def _is_mark(byte: Any) -> Any:
    return (byte == _QUOTE) | (byte == _BACKSLASH) | (byte < _SPACE)


@compiled
def hash_of_name(name: Array) -> Any:
    """A hash (FNV-1a) of the bytes of a key."""
    hashed = _FNV_BASIS
    for byte in name:
        hashed = (hashed ^ np.uint64(byte)) * FNV_PRIME
    return hashed


@compiled
def equal(one: Array, other: Array) -> bool:
    """Whether two texts are equal."""
    if len(one) != len(other):
        return False
    for at in range(len(one)):  # noqa: SIM110 - compiled
        if one[at] != other[at]:
            return False
    return True


@compiled
def contains(values: Array, value: Any) -> bool:
    """Whether one of `values` is `value`."""
    for one in values:  # noqa: SIM110 - compiled
        if one == value:
            return True
    return False


@compiled
def is_word(value: Array) -> bool:
    """Whether it is true, false or null."""
    return equal(value, _TRUE) or equal(value, _FALSE) or equal(value, _NULL)
