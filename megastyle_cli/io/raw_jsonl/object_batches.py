"""Batches of records as lines with their ids, for commands that take lines apart unparsed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

from megastyle_cli.compute.jit import choose_by_size, is_plain
from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.file_kind import is_stream_input
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.inputs import distinct, is_jsonl_input, read_records, records_from_lines
from megastyle_cli.io.raw_jsonl.batches import Block, read_blocks, split_lines
from megastyle_cli.io.raw_jsonl.objects import ObjectLines, find_members
from megastyle_cli.io.raw_jsonl.renamed import rename_in_lines
from megastyle_cli.io.readers.bounded_lines import BadLine
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.record_names import from_folder

Check = Callable[[Record], None]

_BATCH_RECORDS = 1024  # from inputs that are not JSON lines


@dataclass
class ObjectBatch:
    """Consecutive records as `dump_line` writes them, and failures of those that have none."""

    lines: list[StringArray] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    plain: ObjectLines | None = None  # the same lines, if all of them are plain

    def add(self, found: Iterable[Record | Failure], check: Check) -> None:
        """Adds records that pass `check`; those for which it raises BadRecord become failures."""
        records = list[Record]()
        for one in found:
            if isinstance(one, Failure):
                self.failures.append(one)
                continue
            try:
                check(one)
                records.append(one)
            except BadRecord as bad:
                self.failures.append(Failure.of(one, bad))
        self.lines.append(StringArray.from_bytes(map(dump_line, records)))
        self.ids += [record["id"] for record in records]


def read_objects(
    inputs: Sequence[str], wanted: Sequence[str], check: Check, limit: int | None = None
) -> Iterator[ObjectBatch]:
    """The records of `read_records` that pass `check`.

    A record that has a text under one of the `wanted` keys must pass it. Raises MegastyleError at
    once if an input does not exist or holds no records.
    """
    found = read_records(inputs, limit=limit)  # opens all inputs
    if limit is None and all(map(is_jsonl_input, inputs)):
        return _read_lines(distinct(inputs), wanted, check)
    return _read_parsed(found, check)


def _read_parsed(found: Iterator[Record | Failure], check: Check) -> Iterator[ObjectBatch]:
    first = list(islice(found, _BATCH_RECORDS))
    choose_by_size(len(first))
    while first:
        batch = ObjectBatch()
        batch.add(first, check)
        yield batch
        first = list(islice(found, _BATCH_RECORDS))


def _read_lines(
    inputs: Sequence[str], wanted: Sequence[str], check: Check
) -> Iterator[ObjectBatch]:
    for block in read_blocks(inputs):
        batch = ObjectBatch()
        if isinstance(block.lines, BadLine):
            batch.add(records_from_lines(block.name, [block.lines], block.number), check)
        elif is_plain():
            lines = split_lines(block.lines)
            batch.add(records_from_lines(block.name, lines, block.number), check)
        else:
            _add_lines(batch, block, find_members(block.lines, wanted), check)
        yield batch


def _add_lines(batch: ObjectBatch, block: Block, found: ObjectLines, check: Check) -> None:
    """Adds plain lines as they are, the others parsed."""
    base = "" if is_stream_input(block.name) else str(Path(block.name).parent)
    if base not in ("", "."):
        found = rename_in_lines(found, from_folder(base))
    if found.is_plain.all():
        batch.lines, batch.ids, batch.plain = [found.lines], found.ids(), found
        return
    edges = [0, *(np.flatnonzero(np.diff(found.is_plain)) + 1).tolist(), len(found.is_plain)]
    ids = found.ids()
    for first, end in pairwise(edges):
        if found.is_plain[first]:
            batch.lines.append(found.lines.slice(first, end))
            batch.ids += ids[first:end]
        else:
            others = found.raw.slice(first, end)
            batch.add(records_from_lines(block.name, others, block.number + first), check)
