"""Ids of records, and the names of their pictures: relative to the working directory, confined.

An id is the record's own, else by the content of its picture, else by its text. A JSON lines file
or table that a person names may name pictures anywhere. What comes along with a folder, in a tar
or in parquet may be a stranger's: its names stay inside the folder, or the record fails, unless a
run.json beside it says that it is an output of these commands.
"""

from collections.abc import Iterable, Iterator
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
from megastyle_cli.io.archive_member import picture_bytes
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
    run_files = ("run.json", f"{listing.name.partition('.')[0]}.run.json")
    if not any((listing.parent / name).is_file() for name in run_files):
        found = (_checked(one, listing) for one in found)
    return rebased(found, str(listing.parent))


def _checked(found: Record | Failure, listing: Path) -> Record | Failure:
    if isinstance(found, Failure):
        return found
    record = with_file_name(from_listing_keys(found))
    neighbors = record.get("neighbors")
    names = [(key, record.get(key)) for key in PICTURE_KEYS]
    if isinstance(neighbors, list):
        names += [("neighbors", n.get("file_name")) for n in neighbors if isinstance(n, dict)]
    for key, name in names:
        if isinstance(name, str) and escapes_folder(name):
            why = f"{listing}: {key} {name!r} leads out of the folder, which only a listing may do"
            return Failure(record, "bad_image", f"{why} that is named itself, or was made by us")
    return found
