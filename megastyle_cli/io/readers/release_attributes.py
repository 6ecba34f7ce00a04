"""The table of style attributes beside the parquet files of the 8M release, joined by position.

Row i of the table describes the pictures of style i: the same number of consecutive rows of the
parquet files, in the order of their names, for every style (eight in the release).
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.core.style import ATTRIBUTES
from megastyle_cli.io.readers.csv import read_header, read_rows

log = logging.getLogger(__name__)
TABLE = "metadata.csv"
KEYS = {each.column: f"style_{name}" for name, each in ATTRIBUTES.items() if each.column}
ABSENT = ("", "n/a", "na", "none")


def with_attributes(
    files: Sequence[Iterable[Record | Failure | None]], counts: Sequence[int], table: Path
) -> Iterator[Record | Failure | None]:
    """The records of parquet files, each with the attributes of its style; None stays None.

    `counts` are the numbers of rows of the files. Raises MegastyleError at once if the pictures are
    not a multiple of the table's rows, or if no column of the table is known.
    """
    keys = _attribute_columns(table)
    styles = sum(1 for row in read_rows(table) if row) - 1
    if styles < 1 or sum(counts) % styles:
        raise MegastyleError(
            f"{table} describes {styles:,} styles, but {len(files)} parquet files hold"
            f" {sum(counts):,} images, not a whole number per style",
            hint="complete the folder, or move the table away",
        )
    return _joined(files, counts, _AttributeRows(table, keys), sum(counts) // styles)


def _joined(
    files: Sequence[Iterable[Record | Failure | None]],
    counts: Sequence[int],
    table: "_AttributeRows",
    per_style: int,
) -> Iterator[Record | Failure | None]:
    start = 0
    for records, count in zip(files, counts, strict=True):
        for position, found in enumerate(records):
            if found is None or isinstance(found, Failure):
                yield found
                continue
            # by the number in its name: rows before it that failed may be missing
            number = str(found.get("file_name")).rpartition("#")[2]
            row = start + (int(number) if number.isdecimal() else position)
            yield {**found, **table.at(row // per_style)}
        start += count


class _AttributeRows:
    """The attributes by row, read forwards only."""

    def __init__(self, table: Path, keys: list[str | None]) -> None:
        self._keys, self._rows = keys, (row for row in read_rows(table) if row)
        next(self._rows)
        self._number, self._attributes = -1, dict[str, str]()

    def at(self, number: int) -> dict[str, str]:
        """The attributes in row `number`, which is not before the last one asked for."""
        if self._number < number:
            cells = next(islice(self._rows, number - self._number - 1, None))
            self._number = number
            row = ((key, cell.strip()) for key, cell in zip(self._keys, cells, strict=False))
            self._attributes = {
                key: cell for key, cell in row if key and cell.lower() not in ABSENT
            }
        return self._attributes


def _attribute_columns(table: Path) -> list[str | None]:
    """The attribute of each column; None for a column that is not known."""
    head = read_header(table, read_rows(table))
    keys = [KEYS.get(name.lower().replace("_", " ")) for name in head]
    unknown = [name for name, key in zip(head, keys, strict=True) if key is None]
    if len(unknown) == len(head):
        raise MegastyleError(
            f"{table} is beside parquet files, but none of its columns is a style attribute:"
            f" {', '.join(head)}",
            hint="move it away, or give the parquet files as inputs",
        )
    if unknown:
        log.warning("%s: columns that are not style attributes are skipped: %s", table, unknown)
    return keys
