"""Lines to a stream: standard output, a FIFO, a device, `>(...)`; each can be read at once."""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from megastyle_cli.core.atomic_file import AtomicFile, ResumableFile
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.file_kind import is_stdout, is_stream, open_stream, with_path
from megastyle_cli.core.printable import printable_json
from megastyle_cli.core.record import Record
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.writers.compressor import compressor_for


def line_for(
    output: str, as_text: Callable[[Record], str], *, as_json: bool
) -> Callable[[Record], bytes]:
    """How a record is written to `output`: `as_text` if that is a terminal, else `dump_line`.

    With `as_json` the terminal gets JSON too.
    """
    if as_json or not is_stdout(output) or not sys.stdout.isatty():
        return dump_line
    return lambda record: as_text(record).encode("utf-8", "backslashreplace")


class Stream:
    """Lines as they come; `name` None is standard output, which is not closed."""

    final: Path | None = None  # an AtomicFile has a final name

    def __init__(self, name: Path | None = None) -> None:
        self.name = name
        self.done: Counter[str] = Counter()
        # the stream itself: the output of a library that prints may be redirected for a while
        self._lines: BinaryIO | None = None if name else sys.stdout.buffer
        self._is_terminal = not name and sys.stdout.isatty()

    def open(self) -> None:
        """Opens the stream; a FIFO waits for its reader."""
        if self.name is not None:
            self._lines = open_stream(self.name, "wb")
            self._is_terminal = self._lines.isatty()

    def write(self, line: bytes) -> None:
        """Adds a line."""
        assert self._lines is not None
        with with_path(self.name or Path("standard output")):
            self._lines.write(printable_json(line) if self._is_terminal else line)

    def flush(self) -> None:
        """Makes what was written readable by the next command."""
        if self._lines is not None:
            with with_path(self.name or Path("standard output")):
                self._lines.flush()

    def finish(self) -> None:
        """Writes the last lines."""
        self.flush()

    def commit(self) -> None:
        """Does nothing: a stream has no final name."""
        self.flush()

    def close(self) -> None:
        """Signals the end of the stream to the reader."""
        if self.name is not None and self._lines is not None:
            with with_path(self.name):  # it writes what a full disk refused once more
                self._lines.close()


def resumable_output(
    path: Path, *, resume: bool, overwrite: bool
) -> ResumableFile | AtomicFile | Stream:
    """What writes lines to `path` that a later run can continue.

    Raises MegastyleError if `path` is a stream or a compressed file, which cannot be continued, and
    `resume` asks for it.
    """
    is_whole = compressor_for(path) is not None
    if not is_stream(path) and not is_whole:
        return ResumableFile(path, resume=resume, overwrite=overwrite)
    if resume:
        kind = "compressed" if is_whole else "a stream"
        raise MegastyleError(
            f"{path} is {kind}, which cannot be resumed", hint="give a plain NAME.jsonl"
        )
    return atomic_output(path, overwrite=overwrite)


def atomic_output(path: Path, *, overwrite: bool) -> AtomicFile | Stream:
    """What writes lines to `path` that appear as a whole, or to a stream as they come."""
    if is_stream(path):
        return Stream(path)
    return AtomicFile(path, overwrite=overwrite, compressor=compressor_for(path))
