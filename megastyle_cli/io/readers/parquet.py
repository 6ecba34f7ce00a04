"""Parquet rows, such as the official releases': records without their pictures, pictures by row.

Nothing is copied to disk. Listing reads no picture unless ids are to be made of them; a picture is
found by its row group, whose pages are read forwards, so rows in order cost one pass.
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
PAIR_ID = re.compile(r"s(\d+)_c(\d+)")  # the releases' ids
LISTED = 1024  # rows read at once without their pictures
BLOCK = 32  # rows read at once with them: 10 MB of the releases
_opening = Lock()


def read(path: Path) -> Iterator[Record | Failure]:
    """The rows as records: scalar columns under their names, nulls left out.

    The pictures are a struct column with `bytes`, `image` before others; `file_name` is then the
    row's, relative to the file's folder. An id of the releases tells `style_id` and `content_id`
    where no column does. Raises MegastyleError at once if this is no parquet file.
    """
    _opened(str(path)).close()
    return _records(path)


def count(path: Path) -> int:
    """How many rows the file has, by its footer. Raises MegastyleError."""
    with _opened(str(path)) as file:
        return int(file.metadata.num_rows)


def picture_bytes(container: str, member: str) -> bytes:
    """The picture of one row as it is stored. Raises BadRecord or MegastyleError if it has none."""
    state = os.stat(container)  # noqa: PTH116  a file that was written anew is opened anew
    with _opening:
        rows = _rows(container, state.st_mtime_ns, state.st_size)
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
    _tell_left_out(path, set(file.schema_arrow.names) - {*scalars, pictures})
    is_hashed = pictures is not None and "id" not in scalars
    columns = [*scalars, pictures] if is_hashed else scalars
    row = 0
    with file:
        try:
            for batch in file.iter_batches(BLOCK if is_hashed else LISTED, columns=columns):
                for told in batch.to_pylist():
                    picture = told.pop(pictures) if is_hashed else None
                    yield _record(told, pictures and f"{path.name}#{row}", picture)
                    row += 1
        except (pa.ArrowException, OSError) as error:
            why = f"{path} is damaged behind row {row}: {error}"
            yield Failure({"file_name": str(path)}, "bad_image", why)


def _record(row: dict[str, Any], place: str | None, picture: dict[str, Any] | None) -> Record:
    """A row as a record; `picture` is there if the id is to be made of it."""
    told: Record = {}
    if picture and picture["bytes"]:
        told["id"] = bytes_id(picture["bytes"])
    for name, value in row.items():
        if value is not None and not (isinstance(value, float) and not math.isfinite(value)):
            told[name] = value
    released = PAIR_ID.fullmatch(str(told.get("id")))
    if released:
        told = {"style_id": released[1], "content_id": released[2], **told}
    if place is not None:
        told["file_name"] = place
    return told


def _picture_column(schema: pa.Schema) -> str | None:
    """The struct column with `bytes` inside: `image` if it is one, else the first."""
    structs = [field.name for field in schema if _holds_bytes(field.type)]
    return "image" if "image" in structs else next(iter(structs), None)


def _holds_bytes(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return False
    inside = {field.name: field.type for field in kind}
    return inside.get("bytes") in (pa.binary(), pa.large_binary(), pa.binary_view())


def _is_scalar(kind: pa.DataType) -> bool:
    """Whether values of this type are JSON's own."""
    if pa.types.is_dictionary(kind):
        return _is_scalar(kind.value_type)
    checks = (
        *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
        *(pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null),
    )
    return any(check(kind) for check in checks)


def _tell_left_out(path: Path, names: set[str]) -> None:
    if names:
        log.warning("%s: columns that are no scalars are left out: %s", path, sorted(names))


class _Rows:
    """The pictures of one file by row number; one thread at a time reads."""

    def __init__(self, container: str) -> None:
        self.container = container
        self.file = _opened(container)
        self.column = _picture_column(self.file.schema_arrow)
        metadata = self.file.metadata
        sizes = (metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        self.starts = list(accumulate(sizes, initial=0))
        self.lock = Lock()
        self.kept: deque[tuple[int, pa.Array]] = deque(maxlen=2)  # blocks by their first row
        self.group, self.next_row = -1, 0  # where the reader is
        self.reader: Iterator[pa.RecordBatch] = iter(())

    def picture(self, place: str) -> bytes:
        """The bytes in the row that `place` numbers. Raises BadRecord if there are none."""
        name = f"{self.container}#{place}"
        if self.column is None:
            raise BadRecord("bad_image", f"{name} is no picture: no column holds any")
        row = int(place) if place.isdecimal() else -1
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
        for first, block in self.kept:
            if first <= row < first + len(block):
                return block[row - first].as_py()
        group = bisect_right(self.starts, row) - 1
        if group != self.group or row < self.next_row:
            self.group, self.next_row = group, self.starts[group]
            self.reader = self.file.iter_batches(
                BLOCK, row_groups=[group], columns=[self.column], use_threads=False
            )
        while row >= self.next_row:
            block = next(self.reader).column(0)
            self.kept.append((self.next_row, block))
            self.next_row += len(block)
        first, block = self.kept[-1]
        return block[row - first].as_py()


@lru_cache(8)
def _rows(container: str, mtime_ns: int, size: int) -> _Rows:
    return _Rows(container)
