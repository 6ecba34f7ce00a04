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
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record, bytes_id
from megastyle_cli.io.pyarrow import pa, pq

log = logging.getLogger(__name__)
PAIR_ID = re.compile(r"s(\d+)_c(\d+)")  # as in the releases
BATCH_ROWS = 1024  # read at once without pictures
PICTURE_ROWS = 32  # read at once with pictures: 10 MB of the releases
_opening = Lock()


def read(path: Path) -> Iterator[Record | Failure]:
    """The rows as records: scalar columns under their names, without nulls.

    Pictures are in a struct column with `bytes`, preferably `image`; `file_name` names the row,
    relative to the file's folder. Without such columns, `style_id` and `content_id` come from an id
    like s1_c2. Raises MegastyleError at once if this is no parquet file.
    """
    _opened(str(path)).close()
    return _records(path)


def count(path: Path) -> int:
    """The number of rows in the footer. Raises MegastyleError if this is no parquet file."""
    with _opened(str(path)) as file:
        return int(file.metadata.num_rows)


def picture_bytes(container: str, member: str) -> bytes:
    """The picture of one row as it is stored. Raises BadRecord or MegastyleError if it has none."""
    state = os.stat(container)  # noqa: PTH116  a file that has changed is reopened
    with _opening:
        rows = _open_rows(container, state.st_mtime_ns, state.st_size)
    return rows.picture(member)


def _opened(container: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(container)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        is_empty = Path(container).stat().st_size == 0
        what = "is empty" if is_empty else "is no parquet file, or is damaged"
        raise MegastyleError(f"{container} {what}", hint="make it or fetch it again") from error


def _records(path: Path) -> Iterator[Record | Failure]:
    file = _opened(str(path))
    pictures = _picture_column(file.schema_arrow)
    scalars = [field.name for field in file.schema_arrow if _is_scalar(field.type)]
    _warn_left_out(path, set(file.schema_arrow.names) - {*scalars, pictures})
    is_hashed = pictures is not None and "id" not in scalars
    columns = [*scalars, pictures] if is_hashed else scalars
    row = 0
    with file:
        try:
            for batch in file.iter_batches(
                PICTURE_ROWS if is_hashed else BATCH_ROWS, columns=columns
            ):
                for values in batch.to_pylist():
                    picture = values.pop(pictures) if is_hashed else None
                    yield _record(values, pictures and f"{path.name}#{row}", picture)
                    row += 1
        except (pa.ArrowException, OSError) as error:
            why = f"{path} is damaged behind row {row}: {error}"
            yield Failure({"file_name": str(path)}, "bad_image", why)


def _record(row: dict[str, Any], file_name: str | None, picture: dict[str, Any] | None) -> Record:
    """A row as a record; `picture` is given if its id depends on it."""
    record: Record = {}
    if picture and picture["bytes"]:
        record["id"] = bytes_id(picture["bytes"])
    for name, value in row.items():
        if value is not None and not (isinstance(value, float) and not math.isfinite(value)):
            record[name] = value
    released = PAIR_ID.fullmatch(str(record.get("id")))
    if released:
        record = {"style_id": released[1], "content_id": released[2], **record}
    if file_name is not None:
        record["file_name"] = file_name
    return record


def _picture_column(schema: pa.Schema) -> str | None:
    """The struct column with `bytes` inside: `image`, else the first one."""
    structs = [field.name for field in schema if _holds_bytes(field.type)]
    return "image" if "image" in structs else next(iter(structs), None)


def _holds_bytes(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return False
    inside = {field.name: field.type for field in kind}
    return inside.get("bytes") in (pa.binary(), pa.large_binary(), pa.binary_view())


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
        log.warning("%s: columns that are no scalars are left out: %s", path, sorted(names))


class _PictureRows:
    """The pictures of one file by row number, read by one thread at a time."""

    def __init__(self, container: str) -> None:
        self.container = container
        self.file = _opened(container)
        self.column = _picture_column(self.file.schema_arrow)
        metadata = self.file.metadata
        sizes = (metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        self.starts = list(accumulate(sizes, initial=0))
        self.lock = Lock()
        self.recent: deque[tuple[int, pa.Array]] = deque(maxlen=2)  # first row, pictures
        self.group, self.next_row = -1, 0  # position of the reader
        self.reader: Iterator[pa.RecordBatch] = iter(())

    def picture(self, number: str) -> bytes:
        """The bytes in a row. Raises BadRecord if there are none."""
        name = f"{self.container}#{number}"
        if self.column is None:
            raise BadRecord("bad_image", f"{name} is no picture: no column holds any")
        row = int(number) if number.isdecimal() else -1
        if not 0 <= row < self.starts[-1]:
            raise BadRecord("bad_image", f"{name} is not there: {self.starts[-1]:,} rows are")
        with self.lock:
            try:
                picture = self._read(row)
            except (pa.ArrowException, OSError) as error:
                raise BadRecord("bad_image", f"{name} is damaged: {error}") from error
        if not picture or not picture["bytes"]:
            raise BadRecord("bad_image", f"{name} is empty")
        return bytes(picture["bytes"])

    def _read(self, row: int) -> Any:
        for first, block in self.recent:
            if first <= row < first + len(block):
                return block[row - first].as_py()
        group = bisect_right(self.starts, row) - 1
        if group != self.group or row < self.next_row:
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
