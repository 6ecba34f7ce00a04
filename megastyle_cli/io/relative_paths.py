"""Names of pictures: relative to a folder or to the working directory, and safe file names.

URLs stay as they are. In x.parquet#416 and x.tar#a/1.png the name of the container changes.
"""

import os
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from megastyle_cli.core.record import PATH_KEYS, PICTURE_KEYS, Record, bytes_id
from megastyle_cli.io.formats import PICTURE_SUFFIXES

LISTING = "metadata.jsonl"

# The package `datasets` expects that every *_file_name in a LISTING is a picture inside the folder,
# which a style or content picture seldom is, and would not open the folder.
LISTING_KEYS = {
    key: f"{key.removesuffix('_file_name')}_picture" for key in PICTURE_KEYS if key != "file_name"
}
_RECORD_KEYS = {listed: key for key, listed in LISTING_KEYS.items()}
_OTHER_PATH_KEYS = frozenset(PATH_KEYS) - {"file_name"}


def to_listing_keys(record: Record) -> Record:
    """A record with the picture keys of an ImageFolder: `style_picture` for `style_file_name`."""
    return {LISTING_KEYS.get(key, key): value for key, value in record.items()}


def from_listing_keys(record: Record) -> Record:
    """The inverse of `to_listing_keys`; a key that the record has already is not replaced."""
    if _RECORD_KEYS.keys().isdisjoint(record):
        return record
    return {
        key if (known := _RECORD_KEYS.get(key)) is None or known in record else known: value
        for key, value in record.items()
    }


def with_file_name(record: Record) -> Record:
    """A record with `file_name` in place of what other tools call it, such as `image` or `path`.

    Only where the value is the name of a picture by its suffix, and no key of ours names one.
    """
    if _OTHER_PATH_KEYS.isdisjoint(record) or any(record.get(key) for key in PICTURE_KEYS):
        return record
    for key in PATH_KEYS:
        name = record.get(key)
        if isinstance(name, str) and name.lower().endswith(PICTURE_SUFFIXES) and "://" not in name:
            rest = {key: value for key, value in record.items() if key != "file_name"}
            return {("file_name" if at == key else at): value for at, value in rest.items()}
    return record


def escapes_folder(name: str) -> bool:
    """Whether a name in the listing of a folder means a file outside of the folder."""
    if "://" in name or not (".." in name or name.startswith("/")):
        return False
    return name.startswith("/") or os.path.normpath(name).split("/")[0] == ".."


def from_folder(base: str) -> Callable[[str], str]:
    """A function that makes names relative to `base` relative to the working directory."""
    # if `base` is a link, ".." means the parent of its target
    real = os.path.realpath(base)
    real = real if Path(base).is_absolute() else os.path.relpath(real)

    def rename(name: str) -> str:
        if not name or "://" in name:
            return name
        return os.path.normpath(os.path.join(real if name.startswith("..") else base, name))  # noqa: PTH118

    return rename


def to_folder(base: Path) -> Callable[[str], str]:
    """A function that makes names relative to the working directory relative to `base`."""
    real = os.path.realpath(base)

    @lru_cache(maxsize=4096)
    def relative(name: str) -> str:
        inside = os.path.relpath(name, base)
        return os.path.relpath(name, real) if inside.startswith("..") else inside

    def rename(name: str) -> str:
        if not name or "://" in name:
            return name
        # relpath costs more than writing a line, and many pictures share a folder
        folder, _, last = name.rpartition("/")
        if not last or last.startswith(".") or not folder:
            return relative(name)
        folder = relative(folder)
        return last if folder == "." else f"{folder}/{last}"

    return rename


def safe_name(record_id: str, earlier: int, *, signs: str) -> str:
    """A file name for the picture of a record: its id if that is a safe name, else a hash of it.

    Records of equal ids each have a picture of their own: `a~1` is the second one of id `a`. A safe
    name consists of letters, digits and `signs`, and begins with a letter, digit or underscore.
    """
    is_safe = re.fullmatch(rf"[A-Za-z0-9_][A-Za-z0-9{signs}]{{0,120}}", record_id)
    suffix = f"~{earlier}" if earlier else ""
    return f"{record_id if is_safe else hashed_name(record_id)}{suffix}"


def hashed_name(record_id: str) -> str:
    """16 hex digits in place of an id, for names of files and folders."""
    return bytes_id(record_id.encode("utf-8", "surrogatepass"))
