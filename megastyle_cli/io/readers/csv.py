"""CSV and TSV: a record a row, its cells as texts; a column of paths names the picture."""

import csv
from collections.abc import Iterator
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import ERROR, PROVENANCE, Failure, Record

SEPARATORS = {".csv": ",", ".tsv": "\t"}
# what people call the column of paths, the first that is there
PATH_COLUMNS = (
    *("file_name", "path", "file", "filename", "filepath", "file_path"),
    *("image", "image_path", "picture"),
)
NOT_TEXT = (PROVENANCE, ERROR, "neighbors")  # keys of objects, which a cell is not


def is_csv(name: str) -> bool:
    """Whether `name` says that it holds a table."""
    return Path(name).suffix.lower() in SEPARATORS


def read_csv(path: Path) -> Iterator[Record | Failure]:
    """The rows as records, empty cells left out; a row of another length than the head fails.

    Raises MegastyleError if there is no head, or if the file is no text.
    """
    return csv_records(path, read_rows(path))


def csv_records(path: Path, rows: Iterator[list[str]]) -> Iterator[Record | Failure]:
    """As `read_table`, of rows that are there already, the head first."""
    head = read_header(path, rows)
    pictures = next((name for name in PATH_COLUMNS if name in head), None)
    names = ["file_name" if name == pictures else name for name in head]
    return _records(path, names, rows)


def read_rows(path: Path) -> Iterator[list[str]]:
    """The rows of cells, the head first. Raises MegastyleError where the file is no table."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            yield from csv.reader(lines, delimiter=SEPARATORS[path.suffix.lower()])
    except (UnicodeDecodeError, csv.Error) as error:
        what = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else "is damaged"
        raise MegastyleError(f"{path} {what}: {error}", hint="save it as UTF-8 CSV") from error


def read_header(path: Path, rows: Iterator[list[str]]) -> list[str]:
    """The names of the columns. Raises MegastyleError if there are none or two are alike."""
    head = [name.strip() for name in next(rows, [])]
    if not any(head):
        raise MegastyleError(f"{path} has no line with names of columns", hint="add one")
    doubled = sorted({name for name in head if head.count(name) > 1})
    if doubled:
        raise MegastyleError(f"{path} has two columns called {doubled[0]!r}", hint="rename one")
    return head


def _records(path: Path, names: list[str], rows: Iterator[list[str]]) -> Iterator[Record | Failure]:
    for number, cells in enumerate(rows, start=1):
        if not cells:
            continue
        if len(cells) != len(names):
            why = f"{path} row {number} has {len(cells)} cells, the head has {len(names)}"
            yield Failure({"file_name": f"{path}:{number}"}, "bad_json", why)
            continue
        told = zip(names, cells, strict=True)
        yield {name: cell for name, cell in told if name and cell and name not in NOT_TEXT}
