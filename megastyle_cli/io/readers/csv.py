"""CSV and TSV: one record per row, its cells as texts; a column of paths names the picture."""

import csv
from collections.abc import Iterator
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import ERROR, PROVENANCE, Failure, Record

# what people call the column of paths; the first that is there
PATH_COLUMNS = (
    *("file_name", "path", "file", "filename", "filepath", "file_path"),
    *("image", "image_path", "picture"),
)
OBJECT_KEYS = (PROVENANCE, ERROR, "neighbors")  # a cell is not an object


def read(path: Path) -> Iterator[Record | Failure]:
    """The rows as records, without empty cells; a row unlike the header in length is a Failure.

    Raises MegastyleError if there is no header, or if the file is not text.
    """
    rows = read_rows(path)
    header = read_header(path, rows)
    paths = next((name for name in PATH_COLUMNS if name in header), None)
    names = ["file_name" if name == paths else name for name in header]
    for number, cells in enumerate(rows, start=1):
        if not cells:
            continue
        if len(cells) != len(names):
            why = f"{path} row {number} has {len(cells)} cells, the head has {len(names)}"
            yield Failure({"file_name": f"{path}:{number}"}, "bad_json", why)
            continue
        row = zip(names, cells, strict=True)
        yield {name: cell for name, cell in row if name and cell and name not in OBJECT_KEYS}


def count(path: Path) -> int | None:
    """None: a cell may hold newlines, so that the file would have to be parsed."""
    return None


def read_rows(path: Path) -> Iterator[list[str]]:
    """The rows of cells, the header first. Raises MegastyleError where the file is no table."""
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            yield from csv.reader(lines, delimiter=separator)
    except (UnicodeDecodeError, csv.Error) as error:
        what = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else "is damaged"
        raise MegastyleError(f"{path} {what}: {error}", hint="save it as UTF-8 CSV") from error


def read_header(path: Path, rows: Iterator[list[str]]) -> list[str]:
    """The names of the columns. Raises MegastyleError if there are none or two are equal."""
    header = [name.strip() for name in next(rows, [])]
    if not any(header):
        raise MegastyleError(f"{path} has no line with names of columns", hint="add one")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise MegastyleError(f"{path} has two columns called {repeated[0]!r}", hint="rename one")
    return header
