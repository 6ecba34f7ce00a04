"""The formats of input files: one row for each, with its suffixes and the module that reads it.

A new format is one module in `readers/` and one row here. The lists of formats in the help, in
error messages and in docs/formats.md come from these rows. So do the pictures inside of containers:
x.parquet#416 is a row and x.tar#a/1.png a member. A name that is a file means that file, whatever
characters it holds.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePath
from typing import IO, Protocol, cast

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.file_kind import is_stream
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.picture_plugins import PACKAGES, package_to_install

PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".avif", ".ppm", ".pgm", ".pbm", ".tga", ".ico", ".jp2"),
)
# how pictures are written, by suffix; an .ico is at most 256 px, and .pgm and .pbm have no colour
WRITTEN_PICTURES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **{".png": "PNG", ".webp": "WEBP", ".gif": "GIF", ".bmp": "BMP", ".avif": "AVIF"},
    **{".ppm": "PPM", ".tga": "TGA", ".jp2": "JPEG2000"},
}
PICKLE_SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib")


class Reader(Protocol):
    """What the module of a format defines."""

    def read(self, path: Path) -> Iterator[Record | Failure]:
        """The records of a file in order, and a Failure in place of one that cannot be read.

        Picture names are relative to the file's folder. Raises MegastyleError if the file has
        another format, at once where its first bytes show it.
        """

    def count(self, path: Path) -> int | None:
        """The number of records; None if the file would have to be read through to know."""

    def holds_pictures(self, path: Path) -> bool:
        """Whether pictures are in the file itself, rather than named; only of a container.

        Raises MegastyleError if this is not a file of the format.
        """

    def picture_bytes(self, container: str, member: str) -> bytes:
        """The picture named CONTAINER#MEMBER, as it is stored; only of a container.

        Raises BadRecord if there is none, and MegastyleError if the container is not readable.
        """

    def has_picture(self, container: str, member: str) -> bool:
        """Whether the container has such a row or member; only of a container.

        Raises MegastyleError if the container is not readable.
        """


@dataclass(frozen=True, kw_only=True)
class Format:
    """One row: which names have the format, and the module that reads it."""

    suffixes: tuple[str, ...]
    module: str  # imported when a file is read: it may need a package that is not installed
    read_as: str  # what becomes a record, for docs/formats.md
    label: str = ""  # its name in the help, if not just its suffixes
    compressions: tuple[str, ...] = ()  # suffixes that may follow
    is_container: bool = False  # it holds the pictures themselves

    def matches(self, name: str) -> bool:
        """Whether a file of this name has the format."""
        ends = (suffix + more for suffix in self.suffixes for more in ("", *self.compressions))
        return name.lower().endswith(tuple(ends))

    def load(self) -> Reader:
        """The module. Raises MegastyleError if a package that it needs is not installed."""
        return cast(Reader, import_module(f"megastyle_cli.io.readers.{self.module}"))

    def __str__(self) -> str:
        listed = ", ".join((*self.suffixes, " ".join(self.compressions))).removesuffix(", ")
        return f"{self.label} ({listed})" if self.label else listed


JSON_LINES = Format(
    label="JSON lines",
    suffixes=(".jsonl", ".ndjson"),
    compressions=(".gz", ".bz2", ".xz", ".zst"),
    module="jsonl",
    read_as="one record a line; blank lines are skipped",
)
FORMATS = (
    JSON_LINES,
    Format(
        suffixes=(".csv", ".tsv"),
        module="csv",
        read_as="one record a row; a column has the paths",
    ),
    Format(
        suffixes=(".parquet",),
        module="parquet",
        read_as="one record a row, a row group at a time; needs `pip install 'megastyle[parquet]'`",
        is_container=True,
    ),
    Format(
        suffixes=(".tar",),
        module="webdataset",
        read_as="a WebDataset: `.txt` or `.caption` is `text`, `.cls` is `cls`, and the keys of a"
        " `.json` are the record's",
        is_container=True,
    ),
)
_SUFFIXES = [suffix for row in FORMATS if row.is_container for suffix in row.suffixes]
_CONTAINER = re.compile(rf"({'|'.join(map(re.escape, _SUFFIXES))})(?=#.)", re.IGNORECASE)
_ROW_SUFFIXES = tuple(suffix for row in FORMATS for suffix in row.suffixes)
# the first bytes of the pictures that are written here
PICTURE_MAGIC = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp"}
# common files that no reader here accepts
UNSUPPORTED_SUFFIXES = tuple(
    suffix
    for suffix in (".json", ".txt", ".zip", ".tgz", ".gz", ".bz2", ".xz", ".zst")
    if suffix not in _ROW_SUFFIXES
)
# suffixes of files, never of folders
FILE_SUFFIXES = (
    *(*PICTURE_SUFFIXES, *PICKLE_SUFFIXES, *UNSUPPORTED_SUFFIXES, *_ROW_SUFFIXES),
    *(".npy", ".html", ".safetensors"),
)
ACCEPTED = f"images, folders, {', '.join(map(str, FORMATS))}"
INPUTS_HELP = (
    f"{ACCEPTED[0].upper()}{ACCEPTED[1:]} or - for stdin."
    " In a folder, 1.txt, 1.caption or 1.json holds the caption of 1.jpg."
)


def is_picture_name(name: str) -> bool:
    """Whether a file of this name is read as a picture, with the packages that are installed."""
    suffix = PurePath(name).suffix.lower()
    return suffix in PICTURE_SUFFIXES or (suffix in PACKAGES and not package_to_install(name))


def format_of(name: str) -> Format | None:
    """The format that a file's name implies; None for a picture and for everything else."""
    return next((row for row in FORMATS if row.matches(name)), None)


def counted(kinds: Mapping[str, int]) -> str:
    """Numbers by kind as words, the most frequent first: 12 .npy, 1 .psd."""
    by_number = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number:,} {kind}" for kind, number in by_number)


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
