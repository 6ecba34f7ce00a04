"""What a barrier command read, kept on disk between its two passes: memory holds only keys."""

import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any

from megastyle_cli.record import PROVENANCE, Record, note
from megastyle_cli.stream.jsonl import dump_line, load_line

if TYPE_CHECKING:
    from megastyle_cli.stream.blocks import Block

Facts = Mapping[str, Any]

_AT_ONCE = 1024  # lines
_WINDOW = 1 << 18  # bytes read at once; rows are mostly asked for in order


class Spool:
    """Records written once and read as often as needed; gone when closed."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="megastyle-")  # noqa: SIM115
        self._starts = array("Q", [0])
        self._is_plain = bytearray()

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
        self._is_plain.append(False)

    def extend(self, block: "Block") -> None:
        """Appends all of them."""
        self._file.write(block.lines.data.data)
        self._starts.frombytes((block.lines.starts[1:] + self._starts[-1]).tobytes())
        self._is_plain += block.is_plain.tobytes()

    def read(self, rows: Iterable[int] | None = None) -> Iterator[Record]:
        """The records at `rows`, in that order; all of them if None."""
        return map(load_line, self._lines(range(len(self)) if rows is None else rows))

    def read_noted(
        self, rows: Iterable[int], command: str, facts: Iterable[Facts]
    ) -> Iterator[Record | bytes]:
        """The records at `rows`, each with its facts as the `note` of `command`.

        Plain records come as their lines, many at once: the note is written at the end of each.
        """
        listed = list(rows)
        ready: list[bytes] = []
        for row, line, fact in zip(listed, self._lines(listed), facts, strict=True):
            if self._is_plain[row]:
                ready += line[:-2], b",", _noted(command, **fact)
                if len(ready) < 3 * _AT_ONCE:
                    continue
            if ready:
                yield b"".join(ready)
                ready.clear()
            if not self._is_plain[row]:
                yield note(load_line(line), command, **fact)
        if ready:
            yield b"".join(ready)

    def _lines(self, rows: Iterable[int]) -> Iterator[bytes]:
        self._file.flush()
        window, first = b"", 0
        for row in rows:
            start, end = self._starts[row], self._starts[row + 1]
            if not first <= start <= end <= first + len(window):
                window, first = self._read(start, max(end - start, _WINDOW)), start
            yield window[start - first : end - first]

    def _read(self, start: int, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0 and (part := os.pread(self._file.fileno(), size, start)):
            parts.append(part)
            start, size = start + len(part), size - len(part)
        return b"".join(parts)


@lru_cache(maxsize=1024)
def _noted(command: str, **facts: Any) -> bytes:
    """The end of a line, from its note on."""
    return dump_line({PROVENANCE: {command: facts}})[1:]
