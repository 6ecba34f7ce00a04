"""Ids of records, and the names of their pictures: relative to a folder or the working directory.

An id is the record's own, else by the content of its picture, else by its text. URLs stay as they
are; in x.parquet#416 and x.tar#a/1.png the name of the container changes.

A JSON lines file or table that a person names may name pictures anywhere. What comes along with a
folder, in a tar or in parquet may be a stranger's: its names stay inside the folder, through links
too, or the record fails, unless a run.json beside it and the record itself name one run of these
commands.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import (
    PATH_KEYS,
    PICTURE_KEYS,
    Failure,
    Record,
    bytes_id,
    rename_pictures,
    text_id,
)
from megastyle_cli.io.formats import PICTURE_SUFFIXES, picture_bytes, split_member_name
from megastyle_cli.io.own_runs import OwnRuns, is_own, runs_beside

LISTING = "metadata.jsonl"
Entry = TypeVar("Entry", Record | Failure, Record | Failure | None)

# The package `datasets` expects that every *_file_name in a LISTING is a picture inside the folder,
# which a style or content picture seldom is, and would not open the folder.
LISTING_KEYS = {
    key: f"{key.removesuffix('_file_name')}_picture" for key in PICTURE_KEYS if key != "file_name"
}
_RECORD_KEYS = {listed: key for key, listed in LISTING_KEYS.items()}
_OTHER_PATH_KEYS = frozenset(PATH_KEYS) - {"file_name"}


def with_id(found: Record | Failure) -> Record | Failure:
    """The record with its `id`, which is its first key if it is not its own string."""
    if isinstance(found, Failure):
        return found
    given = found.get("id")
    if isinstance(given, str) and given:
        return found
    if given not in (None, "") and next(iter(found)) == "id":
        return {**found, "id": str(given)}
    rest = {key: value for key, value in found.items() if key != "id"}
    if given not in (None, ""):
        return {"id": str(given), **rest}
    name = rest.get("file_name")
    try:
        return {"id": text_id(rest) if name is None else picture_id(name), **rest}
    except BadRecord as bad:
        return Failure.of(rest, bad)


def picture_id(name: object) -> str:
    """The id of the picture at `name`. Raises BadRecord("bad_image", ...) if it cannot be read."""
    return bytes_id(picture_bytes(name))


def rebased(found: Iterable[Entry], base: str) -> Iterator[Entry]:
    """Records whose picture names were relative to `base`, now to the working directory.

    None, which stands for a record that is not read, stays None.
    """
    here = from_folder(base)
    for one in found:
        if one is None:
            yield one
            continue
        record = one if isinstance(one, Failure) else with_file_name(from_listing_keys(one))
        if base in ("", ".") or isinstance(record, Failure):
            yield record
            continue
        # the id of a text is that of its names as written, from wherever they are read
        named = with_id(record) if record.get("file_name") is None else record
        yield named if isinstance(named, Failure) else rename_pictures(named, here)


def confined(found: Iterable[Entry], listing: Path) -> Iterator[Entry]:
    """`rebased` to the folder of `listing`; a record that names a picture outside of it fails."""
    runs, leads_out = runs_beside(listing), _leads_out_of(listing.parent)
    checked = (one if one is None else _checked(one, listing, leads_out, runs) for one in found)
    return rebased(checked, str(listing.parent))


def _leads_out_of(folder: Path) -> Callable[[str], bool]:
    """A function: whether a name relative to `folder` leads out of it, by links or by dots."""
    real = os.path.realpath(folder).rstrip("/")

    @lru_cache(maxsize=4096)
    def real_parent(name: str) -> str:
        return os.path.realpath(f"{real}/{name}")

    def leads_out(name: str) -> bool:
        if escapes_folder(name):
            return True
        if "://" in name or "\0" in name:
            return False
        inside = split_member_name(f"{real}/{name}") if "#" in name else None
        parent, _, last = name.rpartition("/")
        path = inside[0] if inside else f"{real_parent(parent)}/{last}"
        path = os.path.realpath(path) if inside or os.path.islink(path) else path  # noqa: PTH114
        return not f"{path}/".startswith(f"{real}/")

    return leads_out


def _checked(
    found: Record | Failure, listing: Path, leads_out: Callable[[str], bool], runs: OwnRuns
) -> Record | Failure:
    if isinstance(found, Failure) or is_own(found, runs):
        return found
    record = with_file_name(from_listing_keys(found))
    neighbors = record.get("neighbors")
    names = [(key, record.get(key)) for key in PICTURE_KEYS]
    if isinstance(neighbors, list):
        names += [("neighbors", n.get("file_name")) for n in neighbors if isinstance(n, dict)]
    for key, name in names:
        if isinstance(name, str) and leads_out(name):
            why = f"{listing}: {key} {name!r} leads out of the folder; allowed only in a listing"
            return Failure(record, "bad_image", f"{why} given as input or written by megastyle")
    return found


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
