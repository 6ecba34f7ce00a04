"""Ids of records: their own, else by the content of their picture, else by their text."""

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Failure, Record, bytes_id, text_id
from megastyle_cli.io.archive_member import picture_bytes


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
