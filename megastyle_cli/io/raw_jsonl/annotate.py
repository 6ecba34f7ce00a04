"""A note at the end of each line: records that stay pass from the spool to the output unparsed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled
from megastyle_cli.compute.string_array import StringArray, append
from megastyle_cli.core.record import PROVENANCE, Record, annotate
from megastyle_cli.io.readers.jsonl import dump_line, load_line
from megastyle_cli.io.spool import Spool

Array = npt.NDArray[Any]
Facts = Mapping[str, Any]

_AT_ONCE = 1024  # lines
_WINDOW = 1 << 18  # bytes read at once


def read_annotated(
    spool: Spool, rows: Array, command: str, facts: Iterable[Facts], which: Array | None = None
) -> Iterator[Record | bytes]:
    """The records at `rows` (n,), each with its facts as the `note` of `command`.

    `facts` are one for each row, or record i has number `which[i]` of them. Plain records come
    as their lines, many at once: the note is written at the end of each.
    """
    if which is not None:
        yield from _noted(spool, rows, command, list(facts), which)
        return
    coming = iter(facts)
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        theirs = list(islice(coming, len(some)))
        yield from _noted(spool, some, command, theirs, np.arange(len(theirs)))
    if next(coming, None) is not None:
        raise ValueError(f"more facts than the {len(rows)} records")


def _noted(
    spool: Spool, rows: Array, command: str, facts: Sequence[Facts], which: Array
) -> Iterator[Record | bytes]:
    if len(which) != len(rows):
        raise ValueError(f"{len(which)} facts for {len(rows)} records")
    notes = StringArray.from_bytes(_ending(command, one) for one in facts)
    longest = int(np.diff(notes.starts).max(initial=0))
    starts = np.frombuffer(spool.starts, np.int64)
    begins, ends = starts[rows], starts[rows + 1]
    is_plain = np.frombuffer(spool.is_plain, np.bool_)[rows]
    del starts  # or nothing could be added while this is read
    data, first, at = np.empty(0, np.uint8), 0, 0
    while at < len(rows):
        begin, end = int(begins[at]), int(ends[at])
        if not first <= begin <= end <= first + len(data):
            first, size = begin, max(end - begin, _WINDOW)
            data = np.frombuffer(spool.read_bytes(first, size), np.uint8)
            out = np.empty(2 * len(data) + longest, np.uint8)  # room for one at least
        if is_plain[at]:
            at, used = _copy_noted(
                data,
                first,
                begins,
                ends,
                is_plain,
                notes.data,
                notes.starts,
                which,
                at,
                out,
            )
            yield out[:used].tobytes()
        else:
            line = data[begin - first : end - first].tobytes()
            yield annotate(load_line(line), command, **facts[which[at]])
            at += 1


def _ending(command: str, facts: Facts) -> bytes:
    """The end of a line, from its note on."""
    return b"," + dump_line({PROVENANCE: {command: facts}})[1:]


@compiled
def _copy_noted(
    data: Array,
    first: int,
    begins: Array,
    ends: Array,
    is_plain: Array,
    notes: Array,
    note_starts: Array,
    which: Array,
    at: int,
    out: Array,
) -> tuple[int, int]:
    """Copies plain lines from number `at` on, each up to its closing brace, and then its note.

    `data` holds the file from byte `first` on. Ends with the first line that is not plain, not in
    `data`, or has no room in `out`: its number, and the bytes written.
    """
    used = 0
    while at < len(begins) and is_plain[at]:
        if begins[at] < first or ends[at] > first + len(data):
            break
        line = data[begins[at] - first : ends[at] - 2 - first]
        told = notes[note_starts[which[at]] : note_starts[which[at] + 1]]
        if used + len(line) + len(told) > len(out):
            break
        used = append(out, append(out, used, line), told)
        at += 1
    return at, used
