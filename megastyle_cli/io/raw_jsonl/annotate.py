"""Provenance added at the end of plain lines, which pass from the spool to the output unparsed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled
from megastyle_cli.compute.string_array import StringArray, append
from megastyle_cli.core.record import PROVENANCE, Record, annotate
from megastyle_cli.io.readers.jsonl import dump_line, load_line
from megastyle_cli.io.temporary_files import Spool

Array = npt.NDArray[Any]
Facts = Mapping[str, Any]

_MAX_LINES = 1024  # annotated together
_WINDOW = 1 << 18  # bytes read at once


def read_annotated(
    spool: Spool, rows: Array, command: str, facts: Iterable[Facts], which: Array | None = None
) -> Iterator[Record | bytes]:
    """The records at `rows` (n,), each annotated by `command` with its facts.

    There is one element of `facts` for each row, or record i has element `which[i]`. Plain records
    come as bytes, many lines at once.
    """
    if which is not None:
        yield from _annotated(spool, rows, command, list(facts), which)
        return
    remaining = iter(facts)
    for start in range(0, len(rows), _MAX_LINES):
        some = rows[start : start + _MAX_LINES]
        their_facts = list(islice(remaining, len(some)))
        yield from _annotated(spool, some, command, their_facts, np.arange(len(their_facts)))
    if next(remaining, None) is not None:
        raise ValueError(f"more facts than the {len(rows)} records")


def _annotated(
    spool: Spool, rows: Array, command: str, facts: Sequence[Facts], which: Array
) -> Iterator[Record | bytes]:
    if len(which) != len(rows):
        raise ValueError(f"{len(which)} facts for {len(rows)} records")
    endings = StringArray.from_bytes(_line_ending(command, one) for one in facts)
    longest = int(np.diff(endings.starts).max(initial=0))
    starts = np.frombuffer(spool.starts, np.int64)
    begins, ends = starts[rows], starts[rows + 1]
    is_plain = np.frombuffer(spool.is_plain, np.bool_)[rows]
    del starts  # the spool cannot grow while there is a view of its starts
    data, first, at = np.empty(0, np.uint8), 0, 0
    while at < len(rows):
        begin, end = int(begins[at]), int(ends[at])
        if not first <= begin <= end <= first + len(data):
            first, size = begin, max(end - begin, _WINDOW)
            data = np.frombuffer(spool.read_bytes(first, size), np.uint8)
            out = np.empty(2 * len(data) + longest, np.uint8)  # at least one line fits
        if is_plain[at]:
            at, used = _copy_annotated(
                data,
                first,
                begins,
                ends,
                is_plain,
                endings.data,
                endings.starts,
                which,
                at,
                out,
            )
            yield out[:used].tobytes()
        else:
            line = data[begin - first : end - first].tobytes()
            yield annotate(load_line(line), command, **facts[which[at]])
            at += 1


def _line_ending(command: str, facts: Facts) -> bytes:
    """The end of an annotated line, from the comma before its provenance on."""
    return b"," + dump_line({PROVENANCE: {command: facts}})[1:]


@compiled
def _copy_annotated(
    data: Array,
    first: int,
    begins: Array,
    ends: Array,
    is_plain: Array,
    endings: Array,
    ending_starts: Array,
    which: Array,
    at: int,
    out: Array,
) -> tuple[int, int]:
    """Copies plain lines from row `at` on, each up to its closing brace, and its ending.

    `data` is the file from byte `first` on. Returns the first row that is not plain, not in `data`
    or does not fit into `out`, and the number of bytes written.
    """
    used = 0
    while at < len(begins) and is_plain[at]:
        if begins[at] < first or ends[at] > first + len(data):
            break
        line = data[begins[at] - first : ends[at] - 2 - first]
        ending = endings[ending_starts[which[at]] : ending_starts[which[at] + 1]]
        if used + len(line) + len(ending) > len(out):
            break
        used = append(out, append(out, used, line), ending)
        at += 1
    return at, used
