"""What a barrier command read, kept on disk between its two passes: memory holds only keys."""

import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from types import TracebackType

from megastyle_cli.record import Record
from megastyle_cli.stream.jsonl import dump_line, load_line

_WINDOW = 1 << 18  # bytes read at once; rows are mostly asked for in order


class Spool:
    """Records written once and read as often as needed; gone when closed."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="megastyle-")  # noqa: SIM115
        self._starts = array("Q", [0])

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._starts) - 1

    def add(self, record: Record) -> None:
        """Appends one record."""
        line = dump_line(record)
        self._file.write(line)
        self._starts.append(self._starts[-1] + len(line))

    def read(self, rows: Iterable[int] | None = None) -> Iterator[Record]:
        """The records at `rows`, in that order; all of them if None."""
        self._file.flush()
        window, first = b"", 0
        for row in range(len(self)) if rows is None else rows:
            start, end = self._starts[row], self._starts[row + 1]
            if not first <= start <= end <= first + len(window):
                window, first = self._read(start, max(end - start, _WINDOW)), start
            yield load_line(window[start - first : end - first])

    def _read(self, start: int, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0 and (part := os.pread(self._file.fileno(), size, start)):
            parts.append(part)
            start, size = start + len(part), size - len(part)
        return b"".join(parts)
