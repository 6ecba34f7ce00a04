"""The pictures of records, opened in one go; what cannot be opened stands as the reason why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Record

if TYPE_CHECKING:
    from PIL.Image import Image

ReadPictures = Callable[[Sequence[str]], "list[Image | BadRecord]"]

WHY = {"file_name": ": it brings no picture"}  # in parquet a column, in a tar a member


def open_record_pictures(
    records: Sequence[Record], key: str, read: ReadPictures
) -> list[Image | BadRecord]:
    """The picture each record names under `key`, in order; BadRecord where none can be opened."""
    names = [record.get(key) for record in records]
    opened = iter(read([name for name in names if isinstance(name, str)]))
    return [
        next(opened)
        if isinstance(name, str)
        else BadRecord("missing_key", f"record {record['id']} has no {key}{WHY.get(key, '')}")
        for name, record in zip(names, records, strict=True)
    ]
