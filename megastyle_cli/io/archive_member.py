"""The bytes of a picture: of a file, or of a container's row or member, as in x.parquet#416.

A name that is a file means that file, whatever characters it holds.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

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
    inside = split_member_name(name)
    if inside is None:
        with open_file(name) as file:
            return file.read()
    try:
        return _member_bytes(*inside)
    except MegastyleError as error:
        raise BadRecord("bad_image", error.message) from error
    except OSError as error:
        raise BadRecord("bad_image", f"{name} cannot be read: {_reason(error)}") from error


@contextmanager
def open_file(name: str) -> Iterator[IO[bytes]]:
    """The file of a picture. Raises BadRecord("bad_image", ...), also if reading from it fails."""
    try:
        if is_stream(name):  # a FIFO or device has no end
            raise BadRecord("bad_image", f"{name} is not a regular file")
        with Path(name).open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise BadRecord("bad_image", f"{name} does not exist") from error
    except IsADirectoryError as error:
        raise BadRecord("bad_image", f"{name} is a folder, not an image") from error
    except OSError as error:
        raise BadRecord("bad_image", f"{name} cannot be read: {_reason(error)}") from error
    except ValueError as error:  # a NUL inside the name
        raise BadRecord("bad_image", f"{name!r} is not a valid file name: {error}") from error


def picture_exists(name: str) -> bool:
    """Whether there is such a file, row or member; a URL and what cannot be read through count."""
    if "://" in name:
        return True
    inside = split_member_name(name)
    if inside is None:
        return Path(name).exists()
    row = format_of(inside[0])
    try:
        return Path(inside[0]).is_file() and row is not None and row.load().has_picture(*inside)
    except MegastyleError:
        return True


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _member_bytes(container: str, member: str) -> bytes:
    row = format_of(container)
    assert row is not None
    return row.load().picture_bytes(container, member)
