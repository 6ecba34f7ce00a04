"""Temporary files: records between the two passes of a command, and arrays larger than memory.

They have no name, so their disk space is freed however the process ends.
"""

import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError
from megastyle_cli.core.file_kind import with_path
from megastyle_cli.core.record import Record
from megastyle_cli.io.readers.jsonl import dump_line, load_line

if TYPE_CHECKING:
    from megastyle_cli.compute.string_array import StringArray

Array = npt.NDArray[Any]

_WINDOW = 1 << 18  # bytes read at once; rows are mostly read in order


class Spool:
    """Records in a temporary file, written once and read any number of times.

    Record i is bytes `starts[i]` to `starts[i + 1]` of the file; `is_plain` is as in `LineBatch`.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.gettempdir())
        self._file = tempfile.TemporaryFile(prefix="megastyle-")  # noqa: SIM115
        self.starts = array("Q", [0])
        self.is_plain = bytearray()

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        with with_path(self.folder):
            self._file.close()

    def __len__(self) -> int:
        return len(self.starts) - 1

    def add(self, record: Record) -> None:
        """Appends one record."""
        line = dump_line(record)
        with with_path(self.folder):
            self._file.write(line)
        self.starts.append(self.starts[-1] + len(line))
        self.is_plain.append(False)

    def extend(self, lines: "StringArray", is_plain: Array | None = None) -> None:
        """Appends records as lines; `is_plain` (n,) bool is as in `LineBatch`, by default false."""
        with with_path(self.folder):
            self._file.write(lines.data.data)
        self.starts.frombytes((lines.starts[1:] + self.starts[-1]).tobytes())
        self.is_plain += bytes(len(lines)) if is_plain is None else is_plain.tobytes()

    def read(self, rows: Iterable[int] | None = None) -> Iterator[Record]:
        """The records at `rows`, in that order; all of them if None."""
        return map(load_line, self._lines(range(len(self)) if rows is None else rows))

    def _lines(self, rows: Iterable[int]) -> Iterator[bytes]:
        window, first = b"", 0
        for row in rows:
            start, end = self.starts[row], self.starts[row + 1]
            if start < first:  # a step back, most likely followed by one forward
                yield self.read_bytes(start, end - start)
                continue
            if end > first + len(window):
                window, first = self.read_bytes(start, max(end - start, _WINDOW)), start
            yield window[start - first : end - first]

    def lines(self, first: int, end: int) -> "StringArray":
        """The lines of the records `first` to `end`, `end` excluded."""
        from megastyle_cli.compute.string_array import StringArray

        starts = np.array(self.starts[first : end + 1], np.int64)
        data = bytearray(self.read_bytes(int(starts[0]), int(starts[-1] - starts[0])))
        return StringArray(np.frombuffer(data, np.uint8), starts - starts[0])

    def read_bytes(self, start: int, size: int) -> bytes:
        """`size` bytes of the file from `start` on, fewer at its end."""
        with with_path(self.folder):
            self._file.flush()
        parts: list[bytes] = []
        while size > 0 and (part := os.pread(self._file.fileno(), size, start)):
            parts.append(part)
            start, size = start + len(part), size - len(part)
        return b"".join(parts)


def scratch_array(n: int, d: int) -> Array:
    """An array (n, d) float32 in an unnamed file in the folder for temporary files.

    The disk space is freed with the array, however the process ends. Raises MegastyleError if there
    is too little.
    """
    if n * d == 0:
        return np.empty((n, d), np.float32)
    with tempfile.TemporaryFile(prefix="megastyle-") as file:
        reserve_space(file.fileno(), Path(tempfile.gettempdir()), n, d)
        return np.asarray(np.memmap(file, np.float32, "r+", shape=(n, d)))


def reserve_space(file: int, folder: Path, n: int, d: int) -> None:
    """Makes an open file in `folder` large enough for vectors (n, d) float32.

    The space is allocated now: later, writing to a page without space would kill the process.
    Raises MegastyleError, with exit code 1, if there is too little.
    """
    size = max(4 * n * d, os.fstat(file).st_size)  # the latter of a .npy file with its header
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, size)
        else:
            os.ftruncate(file, size)
    except OSError as fault:
        raise MegastyleError(
            f"{folder} has no room for {n:,} vectors of {d} numbers, {size / 1e9:.1f} GB:"
            f" {fault.strerror}",
            hint="set TMPDIR to a folder on a larger disk",
            exit_code=UNEXPECTED,
        ) from fault
