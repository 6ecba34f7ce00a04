"""Picture names in plain JSON lines, renamed folder by folder without parsing the lines."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled
from megastyle_cli.compute.string_array import StringArray, append
from megastyle_cli.core.record import PICTURE_KEYS
from megastyle_cli.io.raw_jsonl.marks import equal
from megastyle_cli.io.raw_jsonl.objects import KeyTable, ObjectLines, number_of_key

Array = npt.NDArray[Any]

_KEYS = KeyTable.of(dict.fromkeys(PICTURE_KEYS, 1))
_QUOTE, _SLASH = b'"/'
_PROBE = "a picture"


def rename_in_lines(found: ObjectLines, rename: Callable[[str], str]) -> ObjectLines:
    """`found` with `rename` applied to every picture name of the plain lines.

    `rename` must do the same to all names in one folder (`io.record_names`). A name that is not
    UTF-8 then is escaped, as in no plain line: a block that has one has no plain lines.
    """
    lines = found.lines
    spans = np.empty((len(found.members), 2), np.int64)
    is_new = np.empty(len(spans), np.bool_)
    count = _find_folders(lines.data, found.members, *_KEYS.arrays(), spans, is_new)
    spans, is_new = spans[:count], is_new[:count]
    known, new, which = dict[bytes, int](), list[bytes](), list[int]()
    for begin, end in spans[is_new].tolist():
        folder = lines.data[begin:end].tobytes()
        if folder not in known:
            known[folder] = len(new)
            new.append(_renamed(folder, rename))
        which.append(known[folder])
    if all(new[number] == folder for folder, number in known.items()):
        return found
    replaced = np.array(which, np.int64)[np.cumsum(is_new) - 1]
    names = StringArray.from_bytes(new)
    growth = np.diff(names.starts)[replaced] - (spans[:, 1] - spans[:, 0])
    out = np.empty(len(lines.data) + growth.sum(), np.uint8)
    starts, members, id_spans = lines.starts.copy(), found.members.copy(), found.id_spans.copy()
    _splice(lines.data, spans, replaced, names.data, names.starts, out)
    _shift(spans, growth, found.firsts, starts, members, id_spans)
    is_plain = found.is_plain & (not any(map(_is_escaped, new)))
    return replace(
        found,
        is_plain=is_plain,
        lines=StringArray(out, starts),
        members=members,
        id_spans=id_spans,
    )


def _is_escaped(name: bytes) -> bool:
    return b"\\" in name


def _renamed(folder: bytes, rename: Callable[[str], str]) -> bytes:
    """The new name, as in JSON, of a folder that ends with a slash, or of a file beside it."""
    name = folder.decode()
    renamed = rename(name + _PROBE).removesuffix(_PROBE) if name.endswith("/") else rename(name)
    try:
        return json.dumps(renamed, ensure_ascii=False)[1:-1].encode()
    except UnicodeEncodeError:
        return json.dumps(renamed)[1:-1].encode()


@compiled
def _find_folders(
    data: Array,
    members: Array,
    names: Array,
    name_starts: Array,
    numbers: Array,
    chains: Array,
    spans: Array,
    is_new: Array,
) -> int:
    """The place of the folder of each picture name, up to its last slash; of the name if there is
    no slash. And whether it is unlike the one before. Returns how many there are."""
    count = 0
    for row in range(len(members)):
        key = data[members[row, 0] : members[row, 1]]
        begin = members[row, 2]
        if data[begin] != _QUOTE or number_of_key(key, names, name_starts, numbers, chains) < 0:
            continue
        begin, end = begin + 1, members[row, 3] - 1
        last = end
        while last > begin and data[last - 1] != _SLASH:
            last -= 1
        end = last if last > begin else end
        before = spans[count - 1] if count else spans[0]
        is_new[count] = count == 0 or not equal(data[before[0] : before[1]], data[begin:end])
        spans[count, 0], spans[count, 1] = begin, end
        count += 1
    return count


@compiled
def _splice(
    data: Array, spans: Array, which: Array, names: Array, name_starts: Array, out: Array
) -> None:
    """Copies `data` to `out` with `names[which[i]]` in place of span i."""
    at = used = 0
    for row in range(len(spans)):
        used = append(out, used, data[at : spans[row, 0]])
        number = which[row]
        used = append(out, used, names[name_starts[number] : name_starts[number + 1]])
        at = spans[row, 1]
    append(out, used, data[at:])


@compiled
def _shift(
    spans: Array, growth: Array, firsts: Array, starts: Array, members: Array, id_spans: Array
) -> None:
    """Moves places in lines, in which each span has grown, to where they are now."""
    span = 0
    moved: Any = np.int64(0)
    for row in range(len(firsts) - 1):
        id_begin = id_spans[row, 0]
        for at in range(firsts[row], firsts[row + 1]):
            for column in range(4):
                place = members[at, column]
                while span < len(spans) and spans[span, 0] < place:
                    moved += growth[span]
                    span += 1
                members[at, column] = place + moved
                if column == 2 and place + 1 == id_begin:
                    id_spans[row, 0] += moved
                    id_spans[row, 1] += moved
        starts[row + 1] += moved
