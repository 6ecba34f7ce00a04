"""Picture names: from a folder's point of view to the working directory's, and back; URLs stay.

What stands behind the # of x.parquet#416 or x.tar#a/1.png moves with its container.
"""

import os
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from megastyle_cli.core.record import PICTURE_KEYS, Record, bytes_id

LISTING = "metadata.jsonl"

# In a LISTING the package `datasets` takes every *_file_name for a picture inside the folder, which
# a style or content picture seldom is, and its column for `style`: it would not open the folder.
LISTING_KEYS = {
    key: f"{key.removesuffix('_file_name')}_picture" for key in PICTURE_KEYS if key != "file_name"
}
_READ_AS = {listed: key for key, listed in LISTING_KEYS.items()}


def to_listing_keys(record: Record) -> Record:
    """A record as an ImageFolder's listing spells it: `style_picture` for `style_file_name`."""
    return {LISTING_KEYS.get(key, key): value for key, value in record.items()}


def from_listing_keys(record: Record) -> Record:
    """A record with its picture keys spelled as commands know them; the other way of as_listed."""
    if not any(listed in record for listed in _READ_AS):
        return record
    return {
        key if (known := _READ_AS.get(key)) is None or known in record else known: value
        for key, value in record.items()
    }


def escapes_folder(name: str) -> bool:
    """Whether a name, as a folder's listing tells it, means something outside of the folder."""
    if "://" in name or not (".." in name or name.startswith("/")):
        return False
    return Path(name).is_absolute() or Path(os.path.normpath(name)).parts[0] == ".."


def from_folder(base: str) -> Callable[[str], str]:
    """How a name relative to `base` is called from the working directory."""
    # ".." leaves the folder a link points to, not the folder that holds the link
    real = os.path.realpath(base)
    real = real if Path(base).is_absolute() else os.path.relpath(real)

    def rename(name: str) -> str:
        if "://" in name:
            return name
        return os.path.normpath(os.path.join(real if name.startswith("..") else base, name))  # noqa: PTH118

    return rename


def to_folder(base: Path) -> Callable[[str], str]:
    """How a name that opens from the working directory is called from `base`."""
    real = os.path.realpath(base)

    @lru_cache(maxsize=4096)
    def called_from(name: str) -> str:
        called = os.path.relpath(name, base)
        return os.path.relpath(name, real) if called.startswith("..") else called

    def rename(name: str) -> str:
        if "://" in name:
            return name
        # few folders hold many pictures, and to relate two paths costs more than to write a line
        folder, _, last = name.rpartition("/")
        if not last or last.startswith(".") or not folder:
            return called_from(name)
        folder = called_from(folder)
        return last if folder == "." else f"{folder}/{last}"

    return rename


def safe_name(record_id: str, earlier: int, *, signs: str) -> str:
    """A file's name for the picture of this id: the id itself if it is plain, else its hash.

    Records of equal ids may differ in all else, so each gets a picture of its own: `a~1` is the
    second of id `a`. Besides letters and digits an id may hold `signs`, and begins with none but _.
    """
    is_plain = re.fullmatch(rf"[A-Za-z0-9_][A-Za-z0-9{signs}]{{0,120}}", record_id)
    again = f"~{earlier}" if earlier else ""
    return f"{record_id if is_plain else hashed_name(record_id)}{again}"


def hashed_name(record_id: str) -> str:
    """16 hex digits that stand for an id in the names of files and folders."""
    return bytes_id(record_id.encode("utf-8", "surrogatepass"))
