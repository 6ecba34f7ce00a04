"""Plain JSON lines, copied as `dump_line` would write them without parsing their objects.

Prompts come by the million as flat objects of strings and integers, and making Python objects of
them would cost more than everything that is then done with them. A line is plain if it holds only
strings without escapes, integers of at most 18 digits, true, false and null; if it has an id and a
text that is not blank; and if it has no key twice and none that a reader changes (picture names,
provenance, an earlier failure). All other lines, valid JSON or not, are left to `readers.jsonl`.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled
from megastyle_cli.compute.string_array import StringArray, append
from megastyle_cli.core.record import ERROR, PATH_KEYS, PICTURE_KEYS, PROVENANCE
from megastyle_cli.io.raw_jsonl.marks import (
    MAY_BE_BLANK,
    contains,
    equal,
    hash_of_name,
    is_utf8,
    is_word,
    mark_lines,
)
from megastyle_cli.io.record_names import LISTING_KEYS

Array = npt.NDArray[Any]

_CHANGED_KEYS = (
    *(*PICTURE_KEYS, *PATH_KEYS, *LISTING_KEYS.values()),
    *("neighbors", PROVENANCE, ERROR),
)
_MAX_KEYS = 64  # of a plain line
_QUOTE, _COLON, _COMMA, _OPEN, _CLOSE = b'":,{}'
_MINUS, _ZERO, _NINE, _SPACE, _NEWLINE = b"-09 \n"
_ID = np.frombuffer(b"id", np.uint8)


@dataclass(frozen=True)
class PlainLines:
    """Lines, and copies of the plain ones; `lines` and `texts` are empty for the others."""

    raw: StringArray  # unchanged, with their newlines
    is_plain: Array  # (n,) bool
    lines: StringArray  # as `dump_line` writes them
    texts: StringArray  # under the requested key


def parse_plain_lines(data: bytes, key: str) -> PlainLines:
    """The lines of `data`, each of which ends with a newline, and their texts under `key`."""
    raw = np.frombuffer(data, np.uint8)
    marks, last, starts = mark_lines(raw)
    n = len(last)
    is_plain = np.zeros(n, np.bool_)
    line_starts, text_starts = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
    # an integer id gets quotes
    lines, texts = np.empty(len(raw) + 2 * n, np.uint8), np.empty(len(raw), np.uint8)
    if is_utf8(data):
        wanted = np.frombuffer(key.encode("utf-8", "surrogatepass"), np.uint8)
        out = (is_plain, lines, line_starts, texts, text_starts)
        _copy(raw, marks, last, wanted, _changed_keys(), *out)
    return PlainLines(
        StringArray(raw, starts),
        is_plain,
        StringArray(lines[: line_starts[-1]], line_starts),
        StringArray(texts[: text_starts[-1]], text_starts),
    )


@cache
def _changed_keys() -> Array:
    """Hashes of the keys that no plain line has; other keys of these hashes do no harm."""
    names = [np.frombuffer(key.encode(), np.uint8) for key in _CHANGED_KEYS]
    return np.array([hash_of_name(name) for name in names])


@compiled
def _copy(
    raw: Array,
    marks: Array,
    last: Array,
    wanted: Array,
    changed: Array,
    is_plain: Array,
    lines: Array,
    line_starts: Array,
    texts: Array,
    text_starts: Array,
) -> None:
    keys = np.empty(_MAX_KEYS, np.uint64)
    start: Any = np.int64(0)  # not a literal, for which code would be compiled once more
    mark: Any = start
    for row in range(len(last)):
        line, text = line_starts[row], text_starts[row]
        line_marks = marks[mark : last[row] + 1]
        line_size, text_size = _copy_line(
            raw, start, line_marks, wanted, changed, keys, lines[line:], texts[text:]
        )
        is_plain[row] = line_size > 0
        line_starts[row + 1], text_starts[row + 1] = line + line_size, text + text_size
        start, mark = marks[last[row]] + 1, last[row] + 1


@compiled
def _copy_line(
    raw: Array,
    at: int,
    marks: Array,
    wanted: Array,
    changed: Array,
    keys: Array,
    line: Array,
    text: Array,
) -> tuple[int, int]:
    """Copies the line from `at` to the last of its `marks`.

    Returns the bytes written to `line` and `text`, 0 if the line is not plain.
    """
    end = marks[-1]
    while end > at and raw[end - 1] == _SPACE:
        end -= 1
    if end - at < 2 or raw[at] != _OPEN or raw[end - 1] != _CLOSE:
        return 0, 0
    end -= 1
    mark = count = size = text_size = 0
    has_id = has_text = False
    copied = at  # everything before it is in `line`
    while True:
        # a key: from { or a comma to the colon
        at += 1
        if raw[at] == _SPACE:
            size, copied = append(line, size, raw[copied:at]), _past_spaces(raw, at, end)
            at = copied
        if mark + 2 >= len(marks) or marks[mark] != at or raw[at] != _QUOTE:
            return 0, 0
        close = marks[mark + 1]
        if raw[close] != _QUOTE or count == _MAX_KEYS:
            return 0, 0
        name = raw[at + 1 : close]
        keys[count] = hash_of_name(name)
        if contains(keys[:count], keys[count]) or contains(changed, keys[count]):
            return 0, 0
        is_id, is_wanted = equal(name, _ID), equal(name, wanted)
        mark += 2
        at = close + 1
        if raw[at] == _SPACE:
            size, copied = append(line, size, raw[copied:at]), _past_spaces(raw, at, end)
            at = copied
        if raw[at] != _COLON:
            return 0, 0
        at += 1
        if raw[at] == _SPACE:
            size, copied = append(line, size, raw[copied:at]), _past_spaces(raw, at, end)
            at = copied
        # its value
        if raw[at] == _QUOTE:
            close = marks[mark + 1]
            if raw[close] != _QUOTE or (is_id and close == at + 1):
                return 0, 0
            if is_wanted:
                text_size = append(text, 0, raw[at + 1 : close])
                has_text = _is_visible(raw[at + 1 : close])
            mark += 2
            at = close + 1
        else:
            close = at
            while close < end and raw[close] != _COMMA and raw[close] != _SPACE:
                close += 1
            value = raw[at:close]
            if is_wanted or not (_is_integer(value) or (not is_id and is_word(value))):
                return 0, 0
            if is_id and count > 0:  # a reader would move it to the front
                return 0, 0
            if is_id:
                size = append(line, size, raw[copied:at])
                line[size] = line[size + 1 + len(value)] = _QUOTE
                size = append(line, size + 1, value) + 1
                copied = close
            at = close
        has_id |= is_id
        count += 1
        if raw[at] == _SPACE:
            size, copied = append(line, size, raw[copied:at]), _past_spaces(raw, at, end)
            at = copied
        if at == end:
            break
        if raw[at] != _COMMA:
            return 0, 0
    if not (has_id and has_text):
        return 0, 0
    size = append(line, size, raw[copied:at])
    line[size], line[size + 1] = _CLOSE, _NEWLINE
    return size + 2, text_size


@compiled
def _is_visible(text: Array) -> bool:
    """Whether a text is certain not to be blank; `check_text` decides on the few others."""
    for byte in text:  # noqa: SIM110 - compiled
        if not MAY_BE_BLANK[byte]:
            return True
    return False


@compiled
def _past_spaces(data: Array, at: int, end: int) -> int:
    while at < end and data[at] == _SPACE:
        at += 1
    return at


@compiled
def _is_integer(value: Array) -> bool:
    """Whether it is an integer in the form in which it would be written."""
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
