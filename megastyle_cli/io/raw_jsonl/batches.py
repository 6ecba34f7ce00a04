"""Records by the thousand: the lines, and one text each, of as many as a megabyte holds.

For commands that look at one text of every record and pass the lines on: most records never become
Python objects.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.inputs import is_jsonl_input, read_records, records_from_lines
from megastyle_cli.io.raw_jsonl.parser import PlainLines, parse_plain_lines
from megastyle_cli.io.readers.compressed import open_decompressed
from megastyle_cli.io.readers.jsonl import dump_line

Array = npt.NDArray[Any]
Check = Callable[[Record], None]

_BYTES = 1 << 20  # read at once
_RECORDS = 1024  # taken together where they come one by one


@dataclass(frozen=True)
class LineBatch:
    """Records one after another, and what could not be made one."""

    lines: StringArray  # as `dump_line` writes them
    texts: StringArray  # what is looked at
    is_plain: Array  # (n,) bool: whether the line is as plain as `stream.plain` says
    failures: Sequence[Failure] = ()

    def __len__(self) -> int:
        return len(self.is_plain)


def read_batches(
    inputs: Sequence[str], key: str, check: Check, limit: int | None = None
) -> Iterator[LineBatch]:
    """The records that `read_records` gives, with the text that each has under `key`.

    `check` raises BadRecord for a record that cannot be used; one that passes has that text. Raises
    MegastyleError at once if an input does not exist or says nothing.
    """
    found = read_records(inputs, limit=limit)  # opens them all now
    if limit is None and all(map(is_jsonl_input, inputs)):
        return (block for name in inputs for block in _of_lines(name, key, check))
    return _of_records(found, key, check)


def _of_records(found: Iterator[Record | Failure], key: str, check: Check) -> Iterator[LineBatch]:
    while some := list(islice(found, _RECORDS)):
        yield _parsed(some, key, check)


def _of_lines(name: str, key: str, check: Check) -> Iterator[LineBatch]:
    number = 1
    opened = nullcontext(sys.stdin.buffer) if name == "-" else open_decompressed(Path(name))
    with opened as file:
        for data in _whole_lines(file):
            lines = parse_plain_lines(data, key)
            yield _block(lines, name, number, key, check)
            number += len(lines.is_plain)


def _whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    begun: list[bytes] = []  # of a line without an end so far
    while part := file.read(_BYTES):
        end = part.rfind(b"\n") + 1
        if end:
            yield b"".join((*begun, part[:end]))
            begun = []
        begun.append(part[end:])
    if any(begun):
        yield b"".join((*begun, b"\n"))


def _block(lines: PlainLines, name: str, number: int, key: str, check: Check) -> LineBatch:
    """Plain lines as they are, the others, by their numbers from `number` on, parsed."""
    if lines.is_plain.all():
        return LineBatch(lines.lines, lines.texts, lines.is_plain)
    edges = [0, *(np.flatnonzero(np.diff(lines.is_plain)) + 1).tolist(), len(lines.is_plain)]
    blocks = []
    for first, end in pairwise(edges):
        if lines.is_plain[first]:
            copied, texts = lines.lines.slice(first, end), lines.texts.slice(first, end)
            blocks.append(LineBatch(copied, texts, lines.is_plain[first:end]))
        else:
            odd = records_from_lines(name, lines.came.slice(first, end), number + first)
            blocks.append(_parsed(odd, key, check))
    return LineBatch(
        StringArray.concatenate([block.lines for block in blocks]),
        StringArray.concatenate([block.texts for block in blocks]),
        np.concatenate([block.is_plain for block in blocks]),
        [failure for block in blocks for failure in block.failures],
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
            failures.append(Failure(one, bad.kind, bad.message))
    return LineBatch(
        StringArray.from_bytes(map(dump_line, records)),
        StringArray.from_strings(record[key] for record in records),
        np.zeros(len(records), np.bool_),
        failures,
    )
