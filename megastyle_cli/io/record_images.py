"""The pictures of many records, opened together, each or the reason why it cannot be opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Record

if TYPE_CHECKING:
    from PIL.Image import Image

ReadPictures = Callable[[Sequence[str]], "list[Image | BadRecord]"]

# a parquet row without a picture column, a sample in a tar without such a member
_REASON = {"file_name": ": it brings no picture"}


def open_record_pictures(
    records: Sequence[Record], key: str, read: ReadPictures
) -> list[Image | BadRecord]:
    """The picture that each record names under `key`, in order, or a BadRecord."""
    names = [record.get(key) for record in records]
    opened = iter(read([name for name in names if isinstance(name, str)]))
    return [
        next(opened)
        if isinstance(name, str)
        else BadRecord("missing_key", f"record {record['id']} has no {key}{_REASON.get(key, '')}")
        for name, record in zip(names, records, strict=True)
    ]
