"""Second inputs of a command, such as references and contents, read before its records."""

from array import array
from collections.abc import Iterator, Sequence
from typing import overload

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.inputs import read_records
from megastyle_cli.io.readers.jsonl import dump_line, load_line
from megastyle_cli.runner.job import Check, checked


class PackedRecords(Sequence[Record]):
    """Records in a fifth of the memory that they take as objects: each access parses one anew."""

    def __init__(self) -> None:
        self._lines = bytearray()
        self._starts = array("Q", [0])

    def append(self, record: Record) -> None:
        """Adds one record."""
        self._lines += dump_line(record)
        self._starts.append(len(self._lines))

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, row: int) -> Record: ...

    @overload
    def __getitem__(self, row: slice) -> list[Record]: ...

    def __getitem__(self, row: int | slice) -> Record | list[Record]:
        if isinstance(row, slice):
            return [self[each] for each in range(len(self))[row]]
        row = range(len(self))[row]
        return load_line(bytes(self._lines[self._starts[row] : self._starts[row + 1]]))


def read_side_input(inputs: Sequence[str], check: Check | None = None) -> Iterator[Record]:
    """A second input that must be whole, such as references: a failure raises MegastyleError."""
    for found in (checked(result, check) for result in read_records(inputs)):
        if isinstance(found, Failure):
            raise MegastyleError(found.message, hint="repair or omit it")
        yield found


def pack_side_input(
    inputs: Sequence[str], check: Check | None = None
) -> tuple[PackedRecords, list[Failure]]:
    """A second input of millions of records: those that pass `check`, and the others."""
    records, failures = PackedRecords(), list[Failure]()
    for found in (checked(result, check) for result in read_records(inputs)):
        (failures if isinstance(found, Failure) else records).append(found)  # type: ignore[arg-type]
    return records, failures
