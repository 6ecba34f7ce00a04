"""JSON lines of any keys, copied as `dump_line` would write them, with the places of their values.

For commands that take records apart by the hundred thousand: objects in Python would cost more than
everything that is then done with them. A line is plain here if it is an object with a string as its
id, if no object in it has a key twice, and if its strings and numbers are written as `dump_line`
writes them: `\\n`, but not `\\u000a`; numbers of at most 15 digits (integers of 18) without an
exponent. It has none of the keys that a reader renames or drops, its provenance is an object, and
its picture names have no escapes. All other lines, valid JSON or not, are left to `readers.jsonl`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled
from megastyle_cli.compute.string_array import StringArray, append
from megastyle_cli.core.record import ERROR, PATH_KEYS, PICTURE_KEYS, PROVENANCE
from megastyle_cli.io.raw_jsonl.marks import (
    FNV_PRIME,
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

# what a key is, as bits
CHANGED, ID, PICTURE, OBJECT, WANTED = 1, 2, 4, 8, 16
_ROLES = {
    **dict.fromkeys((*PATH_KEYS, *LISTING_KEYS.values(), "neighbors", ERROR), CHANGED),
    **dict.fromkeys(PICTURE_KEYS, PICTURE),  # file_name is one of PATH_KEYS too
    "id": ID,
    PROVENANCE: OBJECT,
}
MAX_DEPTH, MAX_KEYS = 8, 128  # of a plain line
_QUOTE, _COLON, _COMMA, _OPEN, _CLOSE, _FIRST, _LAST = b'":,{}[]'
_BACKSLASH, _SLASH, _MINUS, _DOT, _ZERO, _NINE = b"\\/-.09"
_SPACE, _NEWLINE = b" \n"
_IS_ESCAPE = np.zeros(256, np.bool_)  # after a backslash
_IS_ESCAPE[list(b'"\\nrtbf')] = True
_SLOTS = 64
_VALUE, _KEY, _FIRST_KEY, _FIRST_ITEM, _AFTER = range(5)  # what comes next in a line


@dataclass(frozen=True)
class KeyTable:
    """Names of keys with a number for each, as the arrays that `number_of_key` takes."""

    names: Array  # (bytes,) uint8: one after another
    starts: Array  # (n + 1,) int64
    numbers: Array  # (n,) int64
    chains: Array  # (64 + n,) int64: the first name of each slot, then the next of each name; -1

    @classmethod
    def of(cls, numbers: dict[str, int]) -> "KeyTable":
        """Names must not be empty, and need no escapes in JSON."""
        names = StringArray.from_strings(numbers)
        chains = np.full(_SLOTS + len(names), -1, np.int64)
        for row, name in enumerate(names):
            slot = _slot_of(len(name), name[0], name[-1])
            chains[_SLOTS + row], chains[slot] = chains[slot], row
        values = np.array(list(numbers.values()), np.int64)
        return cls(names.data, names.starts, values, chains)

    def arrays(self) -> tuple[Array, Array, Array, Array]:
        """What `number_of_key` takes after a key."""
        return self.names, self.starts, self.numbers, self.chains


@dataclass(frozen=True)
class ObjectLines:
    """Lines, copies of the plain ones, and where their members are.

    The members of line i are rows `firsts[i]` to `firsts[i + 1]` of `members`, whose columns are
    places in `lines.data`: of the key without quotes, from and to, and of the value, from and to.
    """

    raw: StringArray  # unchanged, with their newlines
    is_plain: Array  # (n,) bool
    lines: StringArray  # as `dump_line` writes them, empty for the others
    firsts: Array  # (n + 1,) int64
    members: Array  # (m, 4) int64
    id_spans: Array  # (n, 2) int64: places in `lines.data`, without quotes

    def ids(self) -> list[str]:
        """The id of each line, "" if it is not plain."""
        data = self.lines.data.tobytes()
        if data.isascii():
            text = data.decode()
            return [text[begin:end] for begin, end in self.id_spans.tolist()]
        return [data[begin:end].decode() for begin, end in self.id_spans.tolist()]


def find_members(data: bytes, wanted: Sequence[str] = ()) -> ObjectLines:
    """The lines of `data`, each of which ends with a newline.

    A plain line has under one of the `wanted` keys, if any are given, a text that is not blank.
    """
    raw = np.frombuffer(bytearray(data), np.uint8)
    marks, last, starts = mark_lines(raw)
    n = len(last)
    is_plain, id_spans = np.zeros(n, np.bool_), np.zeros((n, 2), np.int64)
    line_starts, firsts = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
    lines = np.empty(len(raw), np.uint8)
    members = np.empty((len(marks) // 2 + 1, 4), np.int64)  # a key has two quotes
    if is_utf8(data):
        out = (is_plain, lines, line_starts, firsts, members, id_spans)
        _copy_lines(raw, marks, last, *_keys(tuple(wanted)).arrays(), len(wanted) > 0, *out)
    copied = StringArray(lines[: line_starts[-1]], line_starts)
    members = members[: firsts[-1]]
    return ObjectLines(StringArray(raw, starts), is_plain, copied, firsts, members, id_spans)


@cache
def _keys(wanted: tuple[str, ...]) -> KeyTable:
    return KeyTable.of(_ROLES | {key: _ROLES.get(key, 0) | WANTED for key in wanted})


def _slot_of(length: Any, first: Any, last: Any) -> Any:
    return (3 * length + first + 5 * last) % _SLOTS


_slot = compiled(_slot_of)  # a table of keys is made without it, and without the compiler


@compiled
def number_of_key(name: Array, names: Array, starts: Array, numbers: Array, chains: Array) -> Any:
    """The number of a key in the arrays of a `KeyTable`, -1 if it is not there."""
    if len(name) == 0:
        return np.int64(-1)
    row = chains[_slot(len(name), np.int64(name[0]), np.int64(name[len(name) - 1]))]
    while row >= 0:
        if equal(name, names[starts[row] : starts[row + 1]]):
            return numbers[row]
        row = chains[_SLOTS + row]
    return np.int64(-1)


@compiled
def is_visible(text: Array) -> bool:
    """Whether the text of a JSON string is certain not to be blank; escapes count as blank."""
    at = 0
    while at < len(text):
        if text[at] == _BACKSLASH:
            at += 2
        elif MAY_BE_BLANK[text[at]]:
            at += 1
        else:
            return True
    return False


@compiled
def _copy_lines(
    raw: Array,
    marks: Array,
    last: Array,
    names: Array,
    name_starts: Array,
    roles: Array,
    chains: Array,
    is_any_wanted: bool,
    is_plain: Array,
    lines: Array,
    line_starts: Array,
    firsts: Array,
    members: Array,
    id_spans: Array,
) -> None:
    seen = np.empty(MAX_KEYS, np.uint64)
    objects = np.zeros(MAX_DEPTH + 1, np.uint64)
    start: Any = np.int64(0)  # not a literal, for which code would be compiled once more
    mark: Any = start
    for row in range(len(is_plain)):
        size, count = _copy_line(
            raw,
            start,
            marks[mark : last[row] + 1],
            names,
            name_starts,
            roles,
            chains,
            is_any_wanted,
            seen,
            objects,
            lines,
            line_starts[row],
            members,
            firsts[row],
            id_spans[row],
        )
        is_plain[row] = size > line_starts[row]
        if not is_plain[row]:
            id_spans[row] = 0
        line_starts[row + 1], firsts[row + 1] = size, count
        start, mark = marks[last[row]] + 1, last[row] + 1


@compiled
def _copy_line(
    raw: Array,
    at: int,
    marks: Array,
    names: Array,
    name_starts: Array,
    roles: Array,
    chains: Array,
    is_any_wanted: bool,
    seen: Array,
    objects: Array,
    out: Array,
    first: int,
    members: Array,
    first_member: int,
    id_span: Array,
) -> tuple[int, int]:
    """Copies the line from `at` to the last of its `marks` to `out`, from `first` on.

    Returns the ends of what was written to `out` and `members`: their beginnings if the line is not
    plain. `seen` and `objects` are for its own use: the keys, and the number of the object at each
    depth, 0 for an array.
    """
    fault = (first, first_member)
    end = marks[-1]
    while end > at and raw[end - 1] == _SPACE:
        end -= 1
    if end - at < 2 or raw[at] != _OPEN or raw[end - 1] != _CLOSE:
        return fault
    size, count = first, first_member
    num_objects = np.uint64(0)
    depth = num_seen = mark = 0
    role = np.int64(0)
    has_id, has_wanted = False, bool(not is_any_wanted)
    state = _VALUE
    while True:
        while at < end and raw[at] == _SPACE:
            at += 1
        if at >= end:
            return fault
        byte = raw[at]
        if state == _AFTER or (byte == _CLOSE and state == _FIRST_KEY):
            is_object = objects[depth] > 0
            is_end = byte == (_CLOSE if is_object else _LAST)
            if state == _AFTER and byte == _COMMA:
                state = _KEY if is_object else _VALUE
            elif not is_end:
                return fault
            out[size] = byte
            size, at = size + 1, at + 1
            if is_end:
                depth -= 1
                state = _AFTER
                if depth == 1:
                    members[count, 3] = size
                    count += 1
                if depth == 0:
                    break
        elif state in (_KEY, _FIRST_KEY):
            if byte != _QUOTE or num_seen == MAX_KEYS:
                return fault
            close = marks[mark + 1]
            if raw[close] != _QUOTE:
                return fault
            mark += 2
            name = raw[at + 1 : close]
            seen[num_seen] = (hash_of_name(name) ^ objects[depth]) * FNV_PRIME
            if contains(seen[:num_seen], seen[num_seen]):
                return fault
            num_seen += 1
            if depth == 1:
                role = max(number_of_key(name, names, name_starts, roles, chains), np.int64(0))
                if role & CHANGED:
                    return fault
                members[count, 0], members[count, 1] = size + 1, size + 1 + len(name)
            size = append(out, size, raw[at : close + 1])
            at = close + 1
            while raw[at] == _SPACE:
                at += 1
            if raw[at] != _COLON:
                return fault
            out[size] = _COLON
            size, at = size + 1, at + 1
            if depth == 1:
                members[count, 2] = size
            state = _VALUE
        elif byte in (_OPEN, _FIRST):
            if depth == MAX_DEPTH or (depth == 1 and role & (ID | PICTURE)):
                return fault
            if depth == 1 and role & OBJECT and byte != _OPEN:
                return fault
            depth += 1
            if byte == _OPEN:
                num_objects += np.uint64(1)
                objects[depth] = num_objects
                state = _FIRST_KEY
            else:
                objects[depth] = np.uint64(0)
                state = _FIRST_ITEM
            out[size] = byte
            size, at = size + 1, at + 1
        elif byte == _LAST and state == _FIRST_ITEM:
            state = _AFTER  # closes it in the next round
        else:
            if depth == 1 and role & OBJECT:
                return fault
            if byte == _QUOTE:
                mark = _end_of_string(raw, marks, mark)
                if mark < 0:
                    return fault
                close = marks[mark] + 1
                mark += 1
            else:
                close = _end_of_word(raw, at, end)
                if close == at:
                    return fault
            value = raw[at:close]
            if depth == 1 and role & (ID | PICTURE | WANTED):
                text = value[1:-1] if byte == _QUOTE else value[:0]
                if role & ID:
                    has_id = len(text) > 0 and not contains(text, _BACKSLASH)
                    if not has_id:
                        return fault
                    id_span[0], id_span[1] = size + 1, size + 1 + len(text)
                if role & PICTURE and not (is_word(value) or _is_picture_name(text)):
                    return fault
                has_wanted = has_wanted or bool(role & WANTED > 0 and is_visible(text))
            size = append(out, size, value)
            at = close
            state = _AFTER
            if depth == 1:
                members[count, 3] = size
                count += 1
    if at != end or not (has_id and has_wanted):
        return fault
    out[size] = _NEWLINE
    return size + 1, count


@compiled
def _end_of_string(raw: Array, marks: Array, mark: int) -> int:
    """The mark of the quote that ends the string which begins at `mark`; -1 if it is not plain."""
    mark += 1
    while raw[marks[mark]] != _QUOTE:
        if raw[marks[mark]] != _BACKSLASH:
            return -1
        escaped = raw[marks[mark] + 1]
        if not _IS_ESCAPE[escaped]:
            return -1
        mark += 2 if escaped in (_QUOTE, _BACKSLASH) else 1
    return mark


@compiled
def _end_of_word(raw: Array, at: int, end: int) -> int:
    """The end of the number or word at `at`; `at` itself if it is not a plain one."""
    close = at
    while close < end:
        byte = raw[close]
        if byte in (_COMMA, _SPACE, _CLOSE, _LAST):
            break
        close += 1
    value = raw[at:close]
    return close if _is_number(value) or is_word(value) else at


@compiled
def _is_number(value: Array) -> bool:
    """Whether it is a number in the form in which it would be written.

    A number of 15 digits is read and written without loss; 0.00001 is written with an exponent.
    """
    begin = 1 if len(value) > 0 and value[0] == _MINUS else 0
    dot, significant, leading = -1, 0, 0
    for at in range(begin, len(value)):
        byte = value[at]
        if byte == _DOT and dot < 0:
            dot = at
        elif not _ZERO <= byte <= _NINE:
            return False
        elif significant or byte != _ZERO:
            significant += 1
        else:
            leading += 1
    whole = (dot if dot >= 0 else len(value)) - begin
    if whole < 1 or (whole > 1 and value[begin] == _ZERO):
        return False
    if dot < 0:
        return whole <= 18 and not (begin == 1 and value[begin] == _ZERO)
    decimals = len(value) - dot - 1
    if decimals < 1 or (decimals > 1 and value[len(value) - 1] == _ZERO):
        return False
    # 0.0001 has four zeros before its first digit, of which one is that before the dot
    return significant <= 15 and (leading <= 4 or (significant == 0 and leading == 2))


@compiled
def _is_picture_name(text: Array) -> bool:
    """Whether a name is what `picture_names` can rename: its last part is the name of a file."""
    last = 0
    for at in range(len(text)):
        if text[at] == _BACKSLASH:
            return False
        if text[at] == _SLASH:
            last = at + 1
    return last < len(text) and text[last] != _DOT
