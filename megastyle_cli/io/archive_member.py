"""The bytes of a picture: of a file, or of a container's row or member, as in x.parquet#416.

A name that is a file means that file, whatever characters it holds.
"""

import re
from pathlib import Path

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.file_kind import is_stream
from megastyle_cli.io.formats import FORMATS, format_of

_SUFFIXES = [suffix for row in FORMATS if row.is_container for suffix in row.suffixes]
_CONTAINER = re.compile(rf"({'|'.join(map(re.escape, _SUFFIXES))})(?=#.)", re.IGNORECASE)


def split_member_name(name: str) -> tuple[str, str] | None:
    """The container and the row or member that `name` means; None if it means a file."""
    if "#" not in name or Path(name).exists():
        return None
    ends = [match.end() for match in _CONTAINER.finditer(name)]
    end = next((end for end in ends if Path(name[:end]).is_file()), ends[0] if ends else None)
    return None if end is None else (name[:end], name[end + 1 :])


def picture_bytes(name: object) -> bytes:
    """The bytes of the picture at `name`, as they are stored.

    Raises BadRecord("bad_image", ...) if there is no such file, row or member, or it is unreadable.
    """
    if not isinstance(name, str):
        raise BadRecord("bad_image", f"file_name is {name!r}, not a string")
    try:
        inside = split_member_name(name)
        return _file_bytes(name) if inside is None else _member_bytes(*inside)
    except MegastyleError as error:
        raise BadRecord("bad_image", error.message) from error
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        raise BadRecord("bad_image", f"{name} cannot be read: {words}") from error
    except ValueError as error:  # a NUL inside the name
        raise BadRecord("bad_image", f"{name!r} is no file name: {error}") from error


def _file_bytes(name: str) -> bytes:
    if is_stream(name):  # a FIFO or device has no end
        raise BadRecord("bad_image", f"{name} is not a regular file")
    return Path(name).read_bytes()


def _member_bytes(container: str, member: str) -> bytes:
    row = format_of(container)
    assert row is not None
    return row.load().picture_bytes(container, member)
