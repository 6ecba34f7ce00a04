"""Which records a resumed run has done: by their ids, or by the names of their pictures.

The id of a picture is a hash of its bytes, so that asking for it means reading the picture. A name
that the output has for a record without an id of its own is enough.
"""

import os
from collections import Counter
from pathlib import Path

from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.readers import jsonl
from megastyle_cli.io.record_names import from_folder, from_listing_keys


class DoneNames:
    """The pictures that the records of an output were made from, and the ids of these records."""

    def __init__(self, output: Path, key: str) -> None:
        """`key` is that of the picture in the records of `output`, the file of an earlier run."""
        self._ids = dict(_names(output, key))

    def take(self, found: Record | Failure, left: Counter[str]) -> bool:
        """Whether a record without an id is done; `left` counts the ids that were not met yet."""
        if isinstance(found, Failure) or found.get("id") not in (None, ""):
            return False
        name = found.get("file_name")
        record_id = self._ids.get(hash(_absolute(name))) if isinstance(name, str) else None
        if record_id is None or left[record_id] <= 0:
            return False
        left[record_id] -= 1
        return True


def _names(output: Path, key: str) -> list[tuple[int, str]]:
    """64 bits of each name instead of the name, of which there may be millions."""
    here = from_folder(str(output.parent))
    found = []
    for record in jsonl.read(output):
        if isinstance(record, Failure):
            continue
        name, record_id = from_listing_keys(record).get(key), record.get("id")
        if isinstance(name, str) and isinstance(record_id, str):
            found.append((hash(_absolute(here(name))), record_id))
    return found


def _absolute(name: str) -> str:
    return os.path.abspath(name)  # noqa: PTH100  no links followed
