"""Batches of about a megabyte of JSON lines, read with one text of each record, and written with
provenance added at the end of the lines.

For commands that need one text of every record and pass the lines on: most records never become
Python objects.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import MAX_PLAIN_RECORDS, choose_by_size, compiled, is_plain
from megastyle_cli.compute.string_array import StringArray, append
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import PROVENANCE, Failure, Record, annotate
from megastyle_cli.io.inputs import (
    distinct,
    is_jsonl_input,
    open_lines,
    read_records,
    records_from_lines,
)
from megastyle_cli.io.raw_jsonl.parser import PlainLines, parse_plain_lines
from megastyle_cli.io.readers.bounded_lines import BadLine, bounded_blocks
from megastyle_cli.io.readers.jsonl import dump_line, load_line
from megastyle_cli.io.temporary_files import Spool

Array = npt.NDArray[Any]
Check = Callable[[Record], None]
Facts = Mapping[str, Any]

_BATCH_BYTES = 1 << 20
_BATCH_RECORDS = 1024  # from inputs that are not JSON lines
_MAX_LINES = 1024  # annotated together
_WINDOW = 1 << 18  # bytes read at once


@dataclass(frozen=True)
class LineBatch:
    """Consecutive records, and failures of those that could not be read."""

    lines: StringArray  # as `dump_line` writes them
    texts: StringArray  # one of each record
    is_plain: Array  # (n,) bool: whether the line is plain (see `parser`)
    failures: Sequence[Failure] = ()

    def __len__(self) -> int:
        return len(self.is_plain)


def read_batches(
    inputs: Sequence[str], key: str, check: Check, limit: int | None = None
) -> Iterator[LineBatch]:
    """The records of `read_records`, with the text of each under `key`.

    `check` raises BadRecord for a record that cannot be used; every other one must have the text.
    Raises MegastyleError at once if an input does not exist or holds no records.
    """
    found = read_records(inputs, limit=limit)  # opens all inputs
    if limit is None and all(map(is_jsonl_input, inputs)):
        return _read_lines(distinct(inputs), key, check)
    return _read_parsed(found, key, check)


def _read_parsed(found: Iterator[Record | Failure], key: str, check: Check) -> Iterator[LineBatch]:
    first = list(islice(found, _BATCH_RECORDS))
    choose_by_size(len(first))
    while first:
        yield _parsed(first, key, check)
        first = list(islice(found, _BATCH_RECORDS))


def _read_lines(inputs: Sequence[str], key: str, check: Check) -> Iterator[LineBatch]:
    for block in read_blocks(inputs):
        if isinstance(block.lines, BadLine) or is_plain():
            lines = [block.lines] if isinstance(block.lines, BadLine) else split_lines(block.lines)
            yield _parsed(records_from_lines(block.name, lines, block.number), key, check)
        else:
            parsed = parse_plain_lines(block.lines, key)
            yield _batch(parsed, block.name, block.number, key, check)


@dataclass(frozen=True)
class Block:
    """Lines of an input, of which the first has this number; each ends with a newline."""

    name: str
    number: int
    lines: bytes | BadLine
    num_lines: int


def read_blocks(inputs: Sequence[str]) -> Iterator[Block]:
    """The lines of JSON lines inputs, in blocks of about a megabyte.

    The first ones are held until it is known how large the input is (`compute.jit`).
    """
    blocks = _read_blocks(inputs)
    held: list[Block] = []
    records = size = 0
    while records <= MAX_PLAIN_RECORDS and size < _BATCH_BYTES and (block := next(blocks, None)):
        held.append(block)
        records += block.num_lines
        size += 0 if isinstance(block.lines, BadLine) else len(block.lines)
    choose_by_size(records if size < _BATCH_BYTES else MAX_PLAIN_RECORDS + 1)
    return chain(held, blocks)


def _read_blocks(inputs: Sequence[str]) -> Iterator[Block]:
    for name in inputs:
        number = 1
        with open_lines(name) as file:
            for lines in bounded_blocks(file, name, _BATCH_BYTES):
                count = 1 if isinstance(lines, BadLine) else lines.count(b"\n")
                yield Block(name, number, lines, count)
                number += count


def split_lines(lines: bytes) -> list[bytes]:
    """Lines, each of which ends with a newline."""
    return [line + b"\n" for line in lines.split(b"\n")[:-1]]


def _batch(lines: PlainLines, name: str, number: int, key: str, check: Check) -> LineBatch:
    """Plain lines as they are, the others parsed; `number` is that of the first line."""
    if lines.is_plain.all():
        return LineBatch(lines.lines, lines.texts, lines.is_plain)
    edges = [0, *(np.flatnonzero(np.diff(lines.is_plain)) + 1).tolist(), len(lines.is_plain)]
    parts = []
    for first, end in pairwise(edges):
        if lines.is_plain[first]:
            copied, texts = lines.lines.slice(first, end), lines.texts.slice(first, end)
            parts.append(LineBatch(copied, texts, lines.is_plain[first:end]))
        else:
            others = records_from_lines(name, lines.raw.slice(first, end), number + first)
            parts.append(_parsed(others, key, check))
    return LineBatch(
        StringArray.concatenate([part.lines for part in parts]),
        StringArray.concatenate([part.texts for part in parts]),
        np.concatenate([part.is_plain for part in parts]),
        [failure for part in parts for failure in part.failures],
    )


def _parsed(found: Iterable[Record | Failure], key: str, check: Check) -> LineBatch:
    records, failures = [], []
    for one in found:
        if isinstance(one, Failure):
            failures.append(one)
            continue
        try:
            check(one)
            records.append(one)
        except BadRecord as bad:
            failures.append(Failure.of(one, bad))
    return LineBatch(
        StringArray.from_bytes(map(dump_line, records)),
        StringArray.from_strings(record[key] for record in records),
        np.zeros(len(records), np.bool_),
        failures,
    )


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
