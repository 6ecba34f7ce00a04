"""Lines of JSON so plain that no parser is needed to write them as `dump_line` would.

Prompts by the million come as flat objects of strings and whole numbers, and to make Python objects
of them costs more than all that is then done with them. A line is plain if that is all it holds:
strings without escapes, whole numbers of at most 18 digits, true, false and null, an id, no key
twice, and no key that a reader would change (pictures' names, provenance, an earlier failure).
Whatever else comes, odd lines, is left to the parser; so is a line that is no JSON.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled
from megastyle_cli.compute.string_array import StringArray, append
from megastyle_cli.core.record import ERROR, PICTURE_KEYS, PROVENANCE
from megastyle_cli.io.relative_paths import LISTING_KEYS

Array = npt.NDArray[Any]

_ODD_KEYS = (*PICTURE_KEYS, *LISTING_KEYS.values(), "neighbors", PROVENANCE, ERROR)
_MOST_KEYS = 64  # of a plain line
_AT_ONCE = 32  # bytes
_QUOTE, _COLON, _COMMA, _OPEN, _CLOSE, _BACKSLASH = b'":,{}\\'
_MINUS, _ZERO, _NINE, _SPACE, _NEWLINE = b"-09 \n"
_ID, _TRUE, _FALSE, _NULL = (
    np.frombuffer(word, np.uint8) for word in (b"id", b"true", b"false", b"null")
)
_PRIME, _BASIS = np.uint64(0x100000001B3), np.uint64(0xCBF29CE484222325)


@dataclass(frozen=True)
class PlainLines:
    """Lines of JSON, and of the plain ones what was read; the others are empty in both buffers."""

    came: StringArray  # as they stood there, with their newlines
    is_plain: Array  # (n,) bool
    lines: StringArray  # as `dump_line` writes them
    texts: StringArray  # under the key that was asked for


def parse_plain_lines(data: bytes, key: str) -> PlainLines:
    """The lines of `data`, each with its newline, and their texts under `key`."""
    came = np.frombuffer(data, np.uint8)
    marks = np.empty(len(came), np.int64)
    marks = marks[: _find_marks(came, marks)]
    last = np.flatnonzero(came[marks] == _NEWLINE)  # mark of each line
    starts = np.concatenate([np.zeros(1, np.int64), marks[last] + 1])
    n = len(last)
    is_plain = np.zeros(n, np.bool_)
    line_starts, text_starts = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
    # a whole number as id gets its quotes
    lines, texts = np.empty(len(came) + 2 * n, np.uint8), np.empty(len(came), np.uint8)
    if _is_utf8(data):
        asked = np.frombuffer(key.encode("utf-8", "surrogatepass"), np.uint8)
        _copy(came, marks, last, asked, _odd(), is_plain, lines, line_starts, texts, text_starts)
    return PlainLines(
        StringArray(came, starts),
        is_plain,
        StringArray(lines[: line_starts[-1]], line_starts),
        StringArray(texts[: text_starts[-1]], text_starts),
    )


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@cache
def _odd() -> Array:
    """Hashes of the keys that make a line odd; another key of the same hash does no harm."""
    names = [np.frombuffer(key.encode(), np.uint8) for key in _ODD_KEYS]
    return np.array([_hash(name) for name in names])


@compiled
def _find_marks(data: Array, marks: Array) -> int:
    """Where a string may end, or hold what is not copied: quotes, backslashes, control bytes."""
    count = 0
    for start in range(0, len(data), _AT_ONCE):
        part = data[start : start + _AT_ONCE]
        has_mark = False
        for at in range(len(part)):  # most have none: of prompts all but their edges
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
def _hash(name: Array) -> Any:
    hashed = _BASIS
    for byte in name:
        hashed = (hashed ^ np.uint64(byte)) * _PRIME
    return hashed


@compiled
def _copy(
    came: Array,
    marks: Array,
    last: Array,
    asked: Array,
    odd: Array,
    is_plain: Array,
    lines: Array,
    line_starts: Array,
    texts: Array,
    text_starts: Array,
) -> None:
    keys = np.empty(_MOST_KEYS, np.uint64)
    start = mark = 0
    for row in range(len(last)):
        line, text = line_starts[row], text_starts[row]
        line_size, text_size = _copy_line(
            came, start, marks[mark : last[row] + 1], asked, odd, keys, lines[line:], texts[text:]
        )
        is_plain[row] = line_size > 0
        line_starts[row + 1], text_starts[row + 1] = line + line_size, text + text_size
        start, mark = marks[last[row]] + 1, last[row] + 1


@compiled
def _copy_line(
    came: Array,
    at: int,
    marks: Array,
    asked: Array,
    odd: Array,
    keys: Array,
    line: Array,
    text: Array,
) -> tuple[int, int]:
    """Copies the line from `at` to the last of its `marks`; bytes of line and text, 0 if odd."""
    end = marks[-1]
    while end > at and came[end - 1] == _SPACE:
        end -= 1
    if end - at < 2 or came[at] != _OPEN or came[end - 1] != _CLOSE:
        return 0, 0
    end -= 1
    mark = count = size = text_size = 0
    has_id = has_text = False
    copied = at  # all before it is in `line`
    while True:
        # a key: from { or a comma to the colon
        at += 1
        if came[at] == _SPACE:
            size, copied = append(line, size, came[copied:at]), _past_spaces(came, at, end)
            at = copied
        if mark + 2 >= len(marks) or marks[mark] != at or came[at] != _QUOTE:
            return 0, 0
        close = marks[mark + 1]
        if came[close] != _QUOTE or count == _MOST_KEYS:
            return 0, 0
        name = came[at + 1 : close]
        keys[count] = _hash(name)
        if _holds(keys[:count], keys[count]) or _holds(odd, keys[count]):
            return 0, 0
        is_id, is_asked = _equal(name, _ID), _equal(name, asked)
        mark += 2
        at = close + 1
        if came[at] == _SPACE:
            size, copied = append(line, size, came[copied:at]), _past_spaces(came, at, end)
            at = copied
        if came[at] != _COLON:
            return 0, 0
        at += 1
        if came[at] == _SPACE:
            size, copied = append(line, size, came[copied:at]), _past_spaces(came, at, end)
            at = copied
        # its value
        if came[at] == _QUOTE:
            close = marks[mark + 1]
            if came[close] != _QUOTE or (is_id and close == at + 1):
                return 0, 0
            if is_asked:
                text_size = append(text, 0, came[at + 1 : close])
                has_text = True
            mark += 2
            at = close + 1
        else:
            close = at
            while close < end and came[close] != _COMMA and came[close] != _SPACE:
                close += 1
            value = came[at:close]
            if is_asked or not (_is_whole(value) or (not is_id and _is_word(value))):
                return 0, 0
            if is_id and count > 0:  # it would be put first
                return 0, 0
            if is_id:
                size = append(line, size, came[copied:at])
                line[size] = line[size + 1 + len(value)] = _QUOTE
                size = append(line, size + 1, value) + 1
                copied = close
            at = close
        has_id |= is_id
        count += 1
        if came[at] == _SPACE:
            size, copied = append(line, size, came[copied:at]), _past_spaces(came, at, end)
            at = copied
        if at == end:
            break
        if came[at] != _COMMA:
            return 0, 0
    if not (has_id and has_text):
        return 0, 0
    size = append(line, size, came[copied:at])
    line[size], line[size + 1] = _CLOSE, _NEWLINE
    return size + 2, text_size


@compiled
def _past_spaces(data: Array, at: int, end: int) -> int:
    while at < end and data[at] == _SPACE:
        at += 1
    return at


@compiled
def _equal(one: Array, other: Array) -> bool:
    if len(one) != len(other):
        return False
    for at in range(len(one)):  # noqa: SIM110 - compiled
        if one[at] != other[at]:
            return False
    return True


@compiled
def _holds(values: Array, value: Any) -> bool:
    for one in values:  # noqa: SIM110 - compiled
        if one == value:
            return True
    return False


@compiled
def _is_whole(value: Array) -> bool:
    """Whether it is a whole number, spelled as it would be written."""
    is_negative = len(value) > 0 and value[0] == _MINUS
    digits = value[1:] if is_negative else value
    if not 1 <= len(digits) <= 18:
        return False
    if digits[0] == _ZERO and (is_negative or len(digits) > 1):
        return False
    for digit in digits:  # noqa: SIM110 - compiled
        if not _ZERO <= digit <= _NINE:
            return False
    return True


@compiled
def _is_word(value: Array) -> bool:
    return _equal(value, _TRUE) or _equal(value, _FALSE) or _equal(value, _NULL)
