"""Ids of records, and the names of their pictures: relative to the working directory, confined.

An id is the record's own, else by the content of its picture, else by its text. A JSON lines file
or table that a person names may name pictures anywhere. What comes along with a folder, in a tar
or in parquet may be a stranger's: its names stay inside the folder, through links too, or the
record fails, unless a run.json beside it and the record itself name one run of these commands.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import (
    PICTURE_KEYS,
    Failure,
    Record,
    bytes_id,
    rename_pictures,
    text_id,
)
from megastyle_cli.io.archive_member import picture_bytes, split_member_name
from megastyle_cli.io.own_runs import OwnRuns, is_own, runs_beside
from megastyle_cli.io.relative_paths import (
    escapes_folder,
    from_folder,
    from_listing_keys,
    with_file_name,
)


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
        return Failure(rest, bad.kind, bad.message)


def picture_id(name: object) -> str:
    """The id of the picture at `name`. Raises BadRecord("bad_image", ...) if it cannot be read."""
    return bytes_id(picture_bytes(name))


def rebased(found: Iterable[Record | Failure], base: str) -> Iterator[Record | Failure]:
    """Records whose picture names were relative to `base`, now to the working directory."""
    here = from_folder(base)
    for one in found:
        record = one if isinstance(one, Failure) else with_file_name(from_listing_keys(one))
        if base in ("", ".") or isinstance(record, Failure):
            yield record
            continue
        # the id of a text is that of its names as written, from wherever they are read
        named = with_id(record) if record.get("file_name") is None else record
        yield named if isinstance(named, Failure) else rename_pictures(named, here)


def confined(found: Iterable[Record | Failure], listing: Path) -> Iterator[Record | Failure]:
    """`rebased` to the folder of `listing`; a record that names a picture outside of it fails."""
    runs, leads_out = runs_beside(listing), _leads_out_of(listing.parent)
    checked = (_checked(one, listing, leads_out, runs) for one in found)
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
            why = f"{listing}: {key} {name!r} leads out of the folder, which only a listing may do"
            return Failure(record, "bad_image", f"{why} that is named itself, or was made by us")
    return found
