"""Second inputs of a command, such as references and contents, read before its records."""

from collections.abc import Iterator, Sequence

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.inputs import read_records
from megastyle_cli.runner.job import Check, checked


def read_side_input(inputs: Sequence[str], check: Check | None = None) -> Iterator[Record]:
    """A second input that must be whole, such as references: a failure raises MegastyleError."""
    for found in (checked(result, check) for result in read_records(inputs)):
        if isinstance(found, Failure):
            raise MegastyleError(found.message, hint="repair or omit it")
        yield found
