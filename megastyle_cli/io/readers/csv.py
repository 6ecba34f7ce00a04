"""CSV and TSV: one record per row, its cells as texts; a column of paths names the picture."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.limits import max_item_bytes, too_large
from megastyle_cli.core.record import OBJECT_KEYS, PATH_KEYS, Failure, Record
from megastyle_cli.io.readers.bounded_lines import BadLine, bounded_lines
from megastyle_cli.io.readers.line_faults import encoding_fault

OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}


def read(path: Path) -> Iterator[Record | Failure]:
    """The rows as records, without empty cells; a row that is not readable is a Failure.

    So is a row unlike the header in length. Raises MegastyleError if there is no header.
    """
    rows = _rows(path)
    header = read_header(path, rows)
    paths = next((name for name in PATH_KEYS if name in header), None)
    names = ["file_name" if name == paths else name for name in header]
    for number, cells in enumerate(rows, start=1):
        if not cells:
            continue
        if isinstance(cells, list) and len(cells) != len(names):
            cells = f"has {len(cells)} cells, the header has {len(names)}"
        if isinstance(cells, str):
            why = f"{path} row {number} {cells}"
            yield Failure({"file_name": f"{path}:{number}"}, "bad_json", why)
            continue
        row = zip(names, cells, strict=True)
        yield {name: cell for name, cell in row if name and cell and name not in OBJECT_KEYS}


def count(path: Path) -> int | None:
    """None: a cell may hold newlines, so that the file would have to be parsed."""
    return None


def read_rows(path: Path) -> Iterator[list[str]]:
    """The rows of cells, the header first. Raises MegastyleError for one that is not readable."""
    for number, cells in enumerate(_rows(path)):
        if isinstance(cells, str):
            raise MegastyleError(f"{path} row {number} {cells}", hint="save it as UTF-8 CSV")
        yield cells


def read_header(path: Path, rows: Iterator[list[str] | str]) -> list[str]:
    """The names of the columns. Raises MegastyleError if there are none or two are equal.

    Also if the only name holds another separator than the file's.
    """
    first = next(rows, [])
    if isinstance(first, str):
        raise MegastyleError(f"{path} {first}", hint="save it as UTF-8 CSV")
    header = [name.strip() for name in first]
    if not any(header):
        raise MegastyleError(f"{path} has no header line with column names", hint="add one")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise MegastyleError(f"{path} has two columns named {repeated[0]!r}", hint="rename one")
    others = [what for mark, what in OTHER_SEPARATORS.items() if mark in header[0]]
    if len(header) == 1 and others:
        raise MegastyleError(
            f"{path} has one column, {header[0]!r}: its cells are separated by {others[0]}",
            hint=f"save it with {OTHER_SEPARATORS[_separator(path)]} instead",
        )
    return header


def _separator(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _rows(path: Path) -> Iterator[list[str] | str]:
    """The rows of cells, the header first; the reason in place of one that is not readable."""
    csv.field_size_limit(max_item_bytes())
    with path.open("rb") as file:
        lines = _Lines(bounded_lines(file, str(path)))
        rows = csv.reader(lines, delimiter=_separator(path))
        while True:
            try:
                cells = next(rows)
                # the file ends inside of the row: all lines behind the quote are in its last cell
                yield "opens a quote that is not closed" if lines.have_ended else cells
            except StopIteration:
                return
            except (csv.Error, ValueError) as error:
                is_long = "field limit" in str(error)
                yield too_large("has a cell that") if is_long else str(error)


class _Lines:
    """Lines of bytes as text; one that is not text raises ValueError, and the next one is read."""

    def __init__(self, lines: Iterator[bytes | BadLine]) -> None:
        self._lines = lines
        self._encoding = "utf-8-sig"  # of the first line
        self.have_ended = False
        self._parts: Iterator[str] = iter(())  # of a line in which carriage returns end lines

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if part := next(self._parts, ""):
            return part
        line = next(self._lines, None)
        if line is None:
            self.have_ended = True
            raise StopIteration
        if isinstance(line, BadLine):
            raise ValueError(line.reason)
        if why := encoding_fault(line):
            raise ValueError(why)
        text, self._encoding = line.decode(self._encoding), "utf-8"
        if "\r" not in text[:-2]:
            return text
        self._parts = iter(io.StringIO(text, newline=""))
        return next(self._parts)
