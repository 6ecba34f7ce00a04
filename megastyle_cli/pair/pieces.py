"""Halves of pairs as JSON, cut from the lines of styles and contents and kept in one array.

A pair consists of the JSON of its parents' halves, which are written and checked once each, and not
once for each of their pairs.
"""

from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled, is_plain
from megastyle_cli.compute.string_array import StringArray, append
from megastyle_cli.core.record import PROVENANCE, Record, rename_pictures
from megastyle_cli.core.style import ATTRIBUTE_KEYS
from megastyle_cli.io.raw_jsonl.marks import contains
from megastyle_cli.io.raw_jsonl.objects import (
    KeyTable,
    ObjectLines,
    find_members,
    is_visible,
    number_of_key,
)
from megastyle_cli.io.raw_jsonl.renamed import rename_in_lines
from megastyle_cli.io.readers.jsonl import dump_line, load_line
from megastyle_cli.pair.halves import KNOWN, PREFIX, Half, content_half, style_half

Array = npt.NDArray[Any]
Rename = Callable[[str], str]

PIECES = 5  # of a half: its id, and the members of text, more, unknown and provenance
_TEXT, _FILE_NAME, _IMAGE, _DROPPED, _PROVENANCE, _ID, _ATTRIBUTES = range(7)
_QUOTE, _COMMA, _N, _BACKSLASH, _NEWLINE = b'",n\\\n'
_OUT = 1 << 18  # bytes of identities at a time


@dataclass(frozen=True)
class Side:
    """Style or content: its half of a pair, and the names of its keys there."""

    name: str
    half: Callable[[Record], Half]
    attributes: tuple[str, ...]
    prefix: str  # of unknown keys
    clash: str  # with which no unknown key may begin: the other half has such keys

    @cached_property
    def keys(self) -> KeyTable:
        """The known keys with what they are."""
        return KeyTable.of(
            dict.fromkeys(sorted(KNOWN), _DROPPED)
            | {key: _ATTRIBUTES + i for i, key in enumerate(self.attributes)}
            | {self.name: _TEXT, f"{self.name}_file_name": _IMAGE, "file_name": _FILE_NAME}
            | {"id": _ID, PROVENANCE: _PROVENANCE}
        )


STYLE = Side("style", style_half, tuple(ATTRIBUTE_KEYS), "", PREFIX)
CONTENT = Side("content", content_half, (), PREFIX, "")


class Pieces:
    """The pieces of many halves, each member followed by a comma.

    Piece p of half i is bytes `starts[5 i + p]` to `starts[5 i + p + 1]` of `data`. Records whose
    pairs cannot be made of pieces are in `odd` instead, by their rows.
    """

    def __init__(self, side: Side) -> None:
        self.side = side
        self.data = bytearray()
        self.starts = array("q", [0])
        self.odd: dict[int, Record] = {}

    def __len__(self) -> int:
        return (len(self.starts) - 1) // PIECES

    def add(self, record: Record) -> None:
        """Adds the half of one record."""
        half = self.side.half(record)
        if _is_ascii_only(record) or (
            self.side.clash and any(key.startswith(self.side.clash) for key in half.unknown)
        ):
            self.odd[len(self)] = record
            self._append([b""] * PIECES)
            return
        members = (half.text, half.more, half.unknown, half.provenance)
        self._append([_text_of(half.id), *map(_members, members)])

    def extend(self, lines: StringArray, ids: Mapping[int, str], rename: Rename | None) -> None:
        """Adds records as `dump_line` wrote them, with `rename` applied to their picture names.

        Line i gets the id `ids[i]`, if there is one.
        """
        if is_plain():
            for row, line in enumerate(lines):
                self._add_line(line, ids.get(row), rename)
        else:
            self.extend_plain(find_members(lines.data.tobytes()), ids, rename)

    def extend_plain(
        self, found: ObjectLines, ids: Mapping[int, str], rename: Rename | None
    ) -> None:
        """`extend` with lines whose members were found before; `raw` holds those not plain."""
        pieces, is_cut = _cut_lines(rename_in_lines(found, rename) if rename else found, self.side)
        if is_cut.all() and not ids:
            self.data += pieces.data.data
            self.starts.frombytes((pieces.starts[1:] + self.starts[-1]).tobytes())
            return
        cut, lines = list(pieces), zip(found.raw, found.lines, strict=True)
        for row, ((raw, line), is_ready) in enumerate(zip(lines, is_cut.tolist(), strict=True)):
            if is_ready and row not in ids:
                self._append(cut[PIECES * row : PIECES * (row + 1)])
            else:
                self._add_line(line or raw, ids.get(row), rename)

    def half(self, row: int) -> Half:
        """The half of one record."""
        if row in self.odd:
            return self.side.half(self.odd[row])
        starts = self.starts[PIECES * row : PIECES * (row + 1) + 1]
        own, *members = (bytes(self.data[begin:end]) for begin, end in pairwise(starts))
        text, more, unknown, provenance = (load_line(b"{%s}" % each[:-1]) for each in members)
        return Half(
            id=load_line(b'{"":"%s"}' % own)[""],
            text=text,
            more=more,
            unknown=unknown,
            provenance=provenance,
        )

    def identities(self) -> Iterator[bytes]:
        """The id and the text, or "", of each half as `id` NUL `text` newline, many at a time."""
        data, starts, is_odd = self.arrays()
        before_text = len(f'"{self.side.name}":"')
        out, at = np.empty(_OUT, np.uint8), 0
        while at < len(self):
            if not is_plain():
                at, used = _copy_identities(data, starts, is_odd, before_text, at, out)
                yield out[:used].tobytes()
                if used:
                    continue
            half = self.half(at)
            text = half.text.get(self.side.name, "")
            yield f"{half.id}\0{text}\n".encode("utf-8", "surrogatepass")
            at += 1

    def arrays(self) -> tuple[Array, Array, Array]:
        """Data, starts, and which halves (n,) are odd, for compiled functions."""
        is_odd = np.zeros(len(self), np.bool_)
        is_odd[list(self.odd)] = True
        data = np.frombuffer(self.data or bytearray(1), np.uint8)
        return data, np.frombuffer(self.starts, np.int64), is_odd

    def _add_line(self, line: bytes, own_id: str | None, rename: Rename | None) -> None:
        record = load_line(line)
        record = rename_pictures(record, rename) if rename else record
        self.add(record if own_id is None else {**record, "id": own_id})

    def _append(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self.data += piece
            self.starts.append(len(self.data))


@compiled
def _copy_identities(
    data: Array, starts: Array, is_odd: Array, before_text: int, at: int, out: Array
) -> tuple[int, int]:
    """Writes identities from half `at` on to `out`.

    Returns the first half that is odd, has an escape or does not fit, and the bytes written.
    """
    used = 0
    while at < len(is_odd):
        begin, middle, end = starts[PIECES * at], starts[PIECES * at + 1], starts[PIECES * at + 2]
        is_fit = not is_odd[at] and used + (end - begin) + 2 <= len(out)
        if not is_fit or contains(data[begin:end], _BACKSLASH):
            break
        used = append(out, used, data[begin:middle])
        out[used] = 0
        used += 1
        if end > middle:  # up to the quote and the comma
            used = append(out, used, data[middle + before_text : end - 2])
        out[used] = _NEWLINE
        used += 1
        at += 1
    return at, used


def _is_ascii_only(record: Record) -> bool:
    """Whether `dump_line` escapes all that is not ASCII, because of a lone surrogate."""
    line = dump_line({"": record})
    return b"\\ud" in line and line.isascii()


def _text_of(text: str) -> bytes:
    return dump_line({"": text})[len('{"":"') : -len('"}\n')]


def _members(record: Record) -> bytes:
    return dump_line(record)[1:-2] + b"," if record else b""


def _cut_lines(found: ObjectLines, side: Side) -> tuple[StringArray, Array]:
    """The pieces of all lines, and which (n,) have theirs: few others must be parsed."""
    n = len(found.is_plain)
    own = StringArray.from_strings(
        [f'"{side.name}_file_name":', side.prefix, f'"{side.name}":', side.clash]
    )
    longest = int(np.diff(own.starts).max())
    size = len(found.lines.data) + (len(found.members) + n) * (longest + 2)
    out, starts = np.empty(size, np.uint8), np.zeros(PIECES * n + 1, np.int64)
    is_cut = np.zeros(n, np.bool_)
    _cut(
        found.lines.data,
        found.is_plain,
        found.firsts,
        found.members,
        found.id_spans,
        *side.keys.arrays(),
        own.data,
        own.starts,
        len(side.attributes),
        out,
        starts,
        is_cut,
    )
    return StringArray(out[: starts[-1]], starts), is_cut


@compiled
def _cut(
    data: Array,
    is_plain: Array,
    firsts: Array,
    members: Array,
    id_spans: Array,
    names: Array,
    name_starts: Array,
    numbers: Array,
    chains: Array,
    own: Array,
    own_starts: Array,
    num_attributes: int,
    out: Array,
    starts: Array,
    is_cut: Array,
) -> None:
    image_key = own[own_starts[0] : own_starts[1]]
    prefix = own[own_starts[1] : own_starts[2]]
    name = own[own_starts[2] : own_starts[3]]
    clash = own[own_starts[3] : own_starts[4]]
    places = np.empty(_ATTRIBUTES + num_attributes, np.int64)  # the member of each kind of key
    unknown = np.empty(len(members) + 1, np.int64)
    for row in range(len(is_plain)):
        piece = PIECES * row
        used = starts[piece]
        places[:] = -1
        num_unknown = 0
        is_fit = is_plain[row]
        for at in range(firsts[row], firsts[row + 1]):
            key = data[members[at, 0] : members[at, 1]]
            number = number_of_key(key, names, name_starts, numbers, chains)
            if number >= 0:
                places[number] = at
            else:
                unknown[num_unknown] = at
                num_unknown += 1
                is_fit &= not _begins_with(key, clash)
        text, image = places[_TEXT], places[_FILE_NAME]
        if image < 0 or data[members[image, 2]] != _QUOTE:
            image = places[_IMAGE]
        if text >= 0 and data[members[text, 2]] != _QUOTE:
            text = -1
        if image >= 0 and data[members[image, 2]] != _QUOTE:
            image = -1
        # whether a text is blank is left to others
        is_fit &= text < 0 or is_visible(data[members[text, 2] + 1 : members[text, 3] - 1])
        is_fit &= image < 0 or is_visible(data[members[image, 2] + 1 : members[image, 3] - 1])
        is_cut[row] = is_fit
        if not is_fit:
            starts[piece + 1 : piece + PIECES + 1] = used
            continue
        used = append(out, used, data[id_spans[row, 0] : id_spans[row, 1]])
        starts[piece + 1] = used
        if text >= 0:
            used = _append_member(out, used, data, members[text])
        starts[piece + 2] = used
        for at in places[_ATTRIBUTES:]:
            if at >= 0 and data[members[at, 2]] != _N:  # null
                used = _append_member(out, used, data, members[at])
        if image >= 0:
            used = append(out, used, image_key)
            used = append(out, used, data[members[image, 2] : members[image, 3]])
            out[used] = _COMMA
            used += 1
        starts[piece + 3] = used
        for at in unknown[:num_unknown]:
            out[used] = _QUOTE
            used = append(out, used + 1, prefix)
            used = append(out, used, data[members[at, 0] : members[at, 3]])
            out[used] = _COMMA
            used += 1
        starts[piece + 4] = used
        made_by = places[_PROVENANCE]
        if made_by >= 0 and members[made_by, 3] - members[made_by, 2] > 2:  # not {}
            used = append(out, used, name)
            used = append(out, used, data[members[made_by, 2] : members[made_by, 3]])
            out[used] = _COMMA
            used += 1
        starts[piece + 5] = used


@compiled
def _append_member(out: Array, used: int, data: Array, member: Array) -> int:
    used = append(out, used, data[member[0] - 1 : member[3]])
    out[used] = _COMMA
    return used + 1


@compiled
def _begins_with(name: Array, beginning: Array) -> bool:
    if len(beginning) == 0 or len(name) < len(beginning):
        return False
    for at in range(len(beginning)):  # noqa: SIM110 - compiled
        if name[at] != beginning[at]:
            return False
    return True
