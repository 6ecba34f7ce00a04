"""Parquet files, such as the official releases: rows are records, and each may hold a picture.

Nothing is unpacked. Reading the records decodes no pictures unless their ids depend on them. A
picture is found by its row group, whose pages are read forwards: all of them in order are one pass.
"""

import logging
import math
import os
import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from threading import Lock
from typing import Any

from megastyle_cli.core.errors import BadRecord, MegastyleError, first_line
from megastyle_cli.core.limits import max_item_bytes, too_large
from megastyle_cli.core.record import OBJECT_KEYS, PATH_KEYS, Failure, Record, bytes_id
from megastyle_cli.io.formats import PICTURE_SUFFIXES
from megastyle_cli.io.pyarrow import pa, pq

log = logging.getLogger(__name__)
PAIR_ID = re.compile(r"s(\d+)_c(\d+)")  # as in the releases
BATCH_ROWS = 1024  # read at once without pictures
PICTURE_ROWS = 32  # read at once with pictures: 10 MB of the releases
BINARY = (pa.binary(), pa.large_binary(), pa.binary_view())
DAMAGE = (pa.ArrowException, OSError, ValueError, OverflowError)  # what reading damage raises
_opening = Lock()


def read(path: Path) -> Iterator[Record | Failure]:
    """The rows as records: scalar columns under their names, without nulls.

    Pictures are in a struct column with `bytes`, preferably `image`, or in a binary column that is
    called like a picture's suffix; `file_name` names the row, or the `path` in the struct if there
    are no bytes, relative to the file's folder. Without such columns, `style_id` and `content_id`
    come from an id like s1_c2. Downloads that img2dataset notes as failed are left out, with one
    warning. Damage and oversized cells are Failures. Raises MegastyleError at once if this is no
    parquet file.
    """
    _opened(str(path)).close()
    return _found(path)


def num_groups(path: Path) -> int:
    """The number of row groups. Raises MegastyleError if this is not a parquet file."""
    with _opened(str(path)) as file:
        return int(file.metadata.num_row_groups)


def read_share(
    path: Path, groups: Sequence[bool], *, with_ids: bool
) -> Iterator[Record | Failure | None]:
    """The rows of `read`, but None for each row of a row group that `groups` says is not read.

    Without `with_ids` no picture is read for the id of its row, so that rows may lack ids.
    """
    return _records(path, groups, with_ids=with_ids)


def count(path: Path) -> int:
    """The number of rows in the footer. Raises MegastyleError if this is not a parquet file."""
    with _opened(str(path)) as file:
        return int(file.metadata.num_rows)


def holds_pictures(path: Path) -> bool:
    """Whether it holds pictures itself. Raises MegastyleError if this is not a parquet file."""
    with _opened(str(path)) as file:
        column = _picture_column(file.schema_arrow)
        return column is not None and _null_pictures(file, column) != file.metadata.num_rows


def picture_bytes(container: str, member: str) -> bytes:
    """The picture of one row as it is stored. Raises BadRecord or MegastyleError if it has none."""
    return _picture_rows(container).picture(member)


def has_picture(container: str, member: str) -> bool:
    """Whether there is such a row. Raises MegastyleError if this is not a parquet file."""
    return member.isdecimal() and int(member) < _picture_rows(container).starts[-1]


def _picture_rows(container: str) -> "_PictureRows":
    state = os.stat(container)  # noqa: PTH116  a file that has changed is reopened
    with _opening:
        return _open_rows(container, state.st_mtime_ns, state.st_size)


def _opened(container: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(container)
    except (FileNotFoundError, PermissionError):
        raise
    except DAMAGE as error:
        is_empty = Path(container).stat().st_size == 0
        what = "is empty" if is_empty else "is not a parquet file, or is damaged"
        raise MegastyleError(f"{container} {what}", hint="create or download it again") from error


def _found(path: Path) -> Iterator[Record | Failure]:
    return (found for found in _records(path) if found is not None)


def _records(
    path: Path, groups: Sequence[bool] | None = None, *, with_ids: bool = True
) -> Iterator[Record | Failure | None]:
    file = _opened(str(path))
    names = file.schema_arrow.names
    pictures = _picture_column(file.schema_arrow)
    scalars = [field.name for field in file.schema_arrow if _is_scalar(field.type)]
    scalars = [name for name in scalars if name not in OBJECT_KEYS]
    _warn_left_out(path, set(names) - {*scalars, pictures})
    needs_id = with_ids and "id" not in scalars
    is_read = pictures is not None and (needs_id or bool(_null_pictures(file, pictures)))
    columns = [*scalars, pictures] if is_read else scalars
    is_download = {"status", "error_message"} <= set(names)  # written by img2dataset
    failed = 0
    with file:
        rows_at_once = PICTURE_ROWS if is_read else BATCH_ROWS
        for row, found in _rows(path, file, columns, rows_at_once, groups):
            if found is None or isinstance(found, Failure):
                yield found
            elif is_download and found["status"] not in (None, "success"):
                failed += 1
            else:
                picture = found.pop(pictures) if pictures and is_read else None
                yield _record(found, pictures and f"{path.name}#{row}", picture)
    if failed:
        log.warning("%s: %s failed downloads are skipped", path, f"{failed:,}")


def _rows(
    path: Path,
    file: pq.ParquetFile,
    columns: list[str],
    num_rows: int,
    groups: Sequence[bool] | None,
) -> Iterator[tuple[int, dict[str, Any] | Failure | None]]:
    """The rows with their numbers, `num_rows` read at once; None for those of other `groups`.

    A Failure stands in place of a row with a cell over the limit, and of the rest of a damaged row
    group.
    """
    limit = max_item_bytes()
    for group, (first, end) in enumerate(pairwise(_group_starts(file))):
        row = first
        if groups and not groups[group]:
            yield from ((row, None) for row in range(first, end))
            continue
        try:
            _check_cell_size(file, group, f"{path} row {row}")
            for batch in file.iter_batches(num_rows, row_groups=[group], columns=columns):
                may_exceed = batch.nbytes > limit
                for values in batch.to_pylist():
                    large = may_exceed and _large_cell(values, limit)
                    if large:
                        why = too_large(f"{path} row {row}: {large}", None)
                        yield row, Failure({"file_name": f"{path}#{row}"}, "bad_json", why)
                    else:
                        yield row, values
                    row += 1
        except BadRecord as bad:
            yield row, Failure({"file_name": str(path)}, bad.kind, bad.message)
        except DAMAGE as error:
            why = f"{path} is damaged after row {row}: {first_line(error)}"
            yield row, Failure({"file_name": str(path)}, "bad_image", why)


def _record(row: dict[str, Any], file_name: str | None, picture: Any) -> Record:
    """A row as a record; `picture` is the cell with the picture, if it was read."""
    record: Record = {}
    if content := _content(picture):
        record["id"] = bytes_id(content)
    elif isinstance(picture, dict) and picture.get("path"):
        file_name = picture["path"]
    for name, value in row.items():
        if value is not None and not (isinstance(value, float) and not math.isfinite(value)):
            record[name] = value
    released = PAIR_ID.fullmatch(str(record.get("id")))
    if released:
        record = {"style_id": released[1], "content_id": released[2], **record}
    if file_name is not None:
        record["file_name"] = file_name
    return record


def _content(picture: Any) -> bytes | None:
    """The bytes in a cell, which is a struct or the bytes themselves."""
    return picture.get("bytes") if isinstance(picture, dict) else picture


def _picture_column(schema: pa.Schema) -> str | None:
    """The column of pictures: a struct with bytes, `image` if there is one, else plain bytes."""
    structs = [field.name for field in schema if _holds_bytes(field.type)]
    plain = [field.name for field in schema if field.type in BINARY and _is_picture(field.name)]
    return "image" if "image" in structs else next(iter((*structs, *plain)), None)


def _is_picture(column: str) -> bool:
    name = column.lower()
    return f".{name}" in PICTURE_SUFFIXES or name in PATH_KEYS


def _holds_bytes(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return False
    inside = {field.name: field.type for field in kind}
    return inside.get("bytes") in (*BINARY, pa.null())


def _null_pictures(file: pq.ParquetFile, column: str) -> int | None:
    """The number of rows without bytes of a picture; None if the footer does not say."""
    metadata = file.metadata
    paths = [metadata.schema.column(leaf).path for leaf in range(metadata.num_columns)]
    leaf = next(at for at, path in enumerate(paths) if path in (column, f"{column}.bytes"))
    found = [
        metadata.row_group(group).column(leaf).statistics
        for group in range(metadata.num_row_groups)
    ]
    if not all(statistics and statistics.has_null_count for statistics in found):
        return None
    return sum(int(statistics.null_count) for statistics in found)


def _group_starts(file: pq.ParquetFile) -> list[int]:
    """The first row of each row group, and the number of all rows."""
    metadata = file.metadata
    sizes = (metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
    return list(accumulate(sizes, initial=0))


def _check_cell_size(file: pq.ParquetFile, group: int, name: str) -> None:
    """Raises BadRecord if some cell of a row group must be over the limit, before it is read."""
    found = file.metadata.row_group(group)
    sizes = [found.column(leaf).total_uncompressed_size for leaf in range(found.num_columns)]
    mean = max(sizes, default=0) // max(1, found.num_rows)
    if mean > max_item_bytes():
        raise BadRecord("bad_json", too_large(f"{name}: a cell", mean))


def _large_cell(values: dict[str, Any], limit: int) -> str | None:
    """The name of a cell over the limit."""
    cells = ((name, _content(value)) for name, value in values.items())
    return next((n for n, v in cells if isinstance(v, str | bytes) and len(v) > limit), None)


def _is_scalar(kind: pa.DataType) -> bool:
    """Whether values of this type are scalars of JSON."""
    if pa.types.is_dictionary(kind):
        return _is_scalar(kind.value_type)
    checks = (
        *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
        *(pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null),
    )
    return any(check(kind) for check in checks)


def _warn_left_out(path: Path, names: set[str]) -> None:
    if names:
        log.warning("%s: non-scalar columns are skipped: %s", path, sorted(names))


class _PictureRows:
    """The pictures of one file by row number, read by one thread at a time."""

    def __init__(self, container: str) -> None:
        self.container = container
        self.file = _opened(container)
        self.column = _picture_column(self.file.schema_arrow)
        self.starts = _group_starts(self.file)
        self.lock = Lock()
        self.recent: deque[tuple[int, pa.Array]] = deque(maxlen=2)  # first row, pictures
        self.group, self.next_row = -1, 0  # position of the reader
        self.reader: Iterator[pa.RecordBatch] = iter(())

    def picture(self, number: str) -> bytes:
        """The bytes in a row. Raises BadRecord if there are none."""
        name = f"{self.container}#{number}"
        if self.column is None:
            raise BadRecord("bad_image", f"{name} is not an image: no column holds images")
        row = int(number) if number.isdecimal() else -1
        if not 0 <= row < self.starts[-1]:
            raise BadRecord(
                "bad_image", f"{name} does not exist: the file has {self.starts[-1]:,} rows"
            )
        with self.lock:
            try:
                content = _content(self._read(row, name))
            except (*DAMAGE, StopIteration) as error:
                raise BadRecord("bad_image", f"{name} is damaged: {first_line(error)}") from error
        if not content:
            raise BadRecord("bad_image", f"{name} is empty")
        if len(content) > max_item_bytes():
            raise BadRecord("bad_image", too_large(name, len(content)))
        return bytes(content)

    def _read(self, row: int, name: str) -> Any:
        for first, block in self.recent:
            if first <= row < first + len(block):
                return block[row - first].as_py()
        group = bisect_right(self.starts, row) - 1
        if group != self.group or row < self.next_row:
            _check_cell_size(self.file, group, name)
            self.group, self.next_row = group, self.starts[group]
            self.reader = self.file.iter_batches(
                PICTURE_ROWS, row_groups=[group], columns=[self.column], use_threads=False
            )
        while row >= self.next_row:
            block = next(self.reader).column(0)
            self.recent.append((self.next_row, block))
            self.next_row += len(block)
        first, block = self.recent[-1]
        return block[row - first].as_py()


@lru_cache(8)
def _open_rows(container: str, mtime_ns: int, size: int) -> _PictureRows:
    return _PictureRows(container)
