"""The positions of a part's lines in the whole input, written beside the part (see `io/parts.py`).

A position is written before its line, so that after a kill each line has one.
"""

from pathlib import Path
from typing import BinaryIO

from megastyle_cli.core.atomic_file import atomic_write, flush_to_disk
from megastyle_cli.core.file_kind import with_path
from megastyle_cli.io.parts import order_path


class PartOrder:
    """The order file of the part whose lines are in `lines`."""

    def __init__(self, lines: Path) -> None:
        self.path = order_path(lines)
        self._file: BinaryIO | None = None

    def open(self, num_lines: int) -> None:
        """Continues the positions of the `num_lines` lines that the part has.

        Those of lines that were lost are cut off. If positions were lost, as in a power cut, their
        lines keep their place behind the last one that is known.
        """
        before = self.path.read_bytes() if self.path.exists() else b""
        known = [line for line in before.splitlines(keepends=True) if line.endswith(b"\n")]
        known = known[:num_lines]
        known += (num_lines - len(known)) * (known[-1:] or [b"0\n"])
        # a new file: a process that lost the part, and does not know it yet, writes to the old one
        atomic_write(self.path, b"".join(known))
        with with_path(self.path):
            self._file = self.path.open("ab")

    def write(self, position: int) -> None:
        """Adds the position of a line, which is written next."""
        assert self._file, "the order is open"
        with with_path(self.path):
            self._file.write(b"%d\n" % position)

    def flush(self) -> None:
        """Makes what was written readable by others."""
        if self._file:
            with with_path(self.path):
                self._file.flush()

    def commit(self) -> None:
        """Returns once all positions are on disk."""
        if self._file:
            with with_path(self.path):
                flush_to_disk(self._file, self.path)

    def close(self) -> None:
        """Closes the file."""
        if self._file:
            with with_path(self.path):
                self._file.close()
            self._file = None
