"""What a barrier command read, kept on disk between its two passes: memory holds only keys."""

import json
import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType

from megastyle_cli.record import Record
from megastyle_cli.stream.jsonl import dump_line


class Spool:
    """Records written once and read as often as needed; gone when closed."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="megastyle-")  # noqa: SIM115
        self._starts: list[int] = []

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, record: Record) -> None:
        """Appends one record."""
        self._starts.append(self._file.seek(0, 2))
        self._file.write(dump_line(record))

    def read(self, rows: Iterable[int] | None = None) -> Iterator[Record]:
        """The records at `rows`, in that order; all of them if None."""
        for row in range(len(self)) if rows is None else rows:
            self._file.seek(self._starts[row])
            yield json.loads(self._file.readline())
