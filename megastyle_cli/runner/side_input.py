"""Second inputs of a command, such as references and contents, read before its records."""

from collections.abc import Iterator, Sequence

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.inputs import read_records
from megastyle_cli.io.packed_records import PackedRecords
from megastyle_cli.runner.job import Check, checked


def read_side_input(inputs: Sequence[str], check: Check | None = None) -> Iterator[Record]:
    """A second input that must be whole, such as references: a failure raises MegastyleError."""
    for found in (checked(result, check) for result in read_records(inputs)):
        if isinstance(found, Failure):
            raise MegastyleError(found.message, hint="repair it or leave it out")
        yield found


def pack_side_input(
    inputs: Sequence[str], check: Check | None = None
) -> tuple[PackedRecords, list[Failure]]:
    """A second input of millions of records: those that pass `check`, and the others."""
    records, failures = PackedRecords(), list[Failure]()
    for found in (checked(result, check) for result in read_records(inputs)):
        (failures if isinstance(found, Failure) else records).append(found)  # type: ignore[arg-type]
    return records, failures
