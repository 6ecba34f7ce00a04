"""The table of style attributes beside the parquet files of the 8M release, joined by position.

Its row i describes the pictures of style i: consecutive rows of the parquet files, taken in the
order of their names, as many as the numbers of rows say, which is eight in the release.
"""

import logging
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.readers.csv import read_header, read_rows

log = logging.getLogger(__name__)
TABLE = "metadata.csv"
KEYS = {
    "overall artistic style": "style_identity",
    "dominant colors": "style_colors",
    "supporting colors": "style_accents",
    "light": "style_light",
    "visual pattern": "style_pattern",
    "surface status": "style_surface",
    "medium": "style_medium",
    "brushwork": "style_brushwork",
    "edge rendering": "style_edges",
}
ABSENT = ("", "n/a", "na", "none")
Found = Iterator[Record | Failure]


def with_attributes(
    shards: list[Path], table: Path, read: Callable[[Path], Found], count: Callable[[Path], int]
) -> Found:
    """The records of `shards` as `read` gives them, each with the attributes of its style.

    Raises MegastyleError at once if the pictures are no whole number of times the table's rows, or
    if no column of the table is known.
    """
    keys = _keys(table)
    counts = [count(shard) for shard in shards]
    styles = sum(1 for row in read_rows(table) if row) - 1
    if styles < 1 or sum(counts) % styles:
        raise MegastyleError(
            f"{table} describes {styles:,} styles, and {len(shards)} parquet files hold"
            f" {sum(counts):,} pictures, which is no whole number for each",
            hint="complete the folder, or move the table away",
        )
    return _joined(shards, counts, read, _Rows(table, keys), sum(counts) // styles)


def _joined(
    shards: list[Path],
    counts: list[int],
    read: Callable[[Path], Found],
    table: "_Rows",
    per_style: int,
) -> Found:
    start = 0
    for shard, count in zip(shards, counts, strict=True):
        for position, found in enumerate(read(shard)):
            if isinstance(found, Failure):
                yield found
                continue
            # the row as it names itself: a row that failed before it may not have come
            place = str(found.get("file_name")).rpartition("#")[2]
            row = start + (int(place) if place.isdecimal() else position)
            yield {**found, **table.at(row // per_style)}
        start += count


class _Rows:
    """The attributes by row, asked for in rising order."""

    def __init__(self, table: Path, keys: list[str | None]) -> None:
        self._keys, self._rows = keys, (row for row in read_rows(table) if row)
        next(self._rows)
        self._number, self._told = -1, dict[str, str]()

    def at(self, number: int) -> dict[str, str]:
        """What row `number` tells; a cell without a value is no attribute."""
        if self._number < number:
            cells = next(islice(self._rows, number - self._number - 1, None))
            self._number = number
            told = ((key, cell.strip()) for key, cell in zip(self._keys, cells, strict=False))
            self._told = {key: cell for key, cell in told if key and cell.lower() not in ABSENT}
        return self._told


def _keys(table: Path) -> list[str | None]:
    """For each column the attribute it tells, None for one that is not known."""
    head = read_header(table, read_rows(table))
    keys = [KEYS.get(name.lower().replace("_", " ")) for name in head]
    unknown = [name for name, key in zip(head, keys, strict=True) if key is None]
    if len(unknown) == len(head):
        raise MegastyleError(
            f"{table} lies beside parquet files, and none of its columns is a style attribute:"
            f" {', '.join(head)}",
            hint="move it away, or name the parquet files",
        )
    if unknown:
        log.warning("%s: columns that are no style attributes are left out: %s", table, unknown)
    return keys
