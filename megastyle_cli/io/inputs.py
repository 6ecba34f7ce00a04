"""Inputs to records: pictures, folders, files of every format in `formats`, and streams.

A stream (standard input, a FIFO, `<(...)`) is opened when its first record is wanted, and once. Its
picture names are relative to the working directory.

A record leaves here with an `id`, without `_error`, and with picture names that open from the
working directory (the output makes them relative to its own).

What inputs name twice is read once: the same file or folder again, or a file of a named folder.
Files are identified by their paths, with links to folders followed. Two records in one file stay
two, and so do two files of equal content.
"""

import logging
import os
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.file_kind import (
    is_endless,
    is_stdin,
    is_stream,
    is_stream_input,
    open_stream,
)
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.core.shard import Placed, Segment, Share
from megastyle_cli.io.formats import (
    ACCEPTED,
    JSON_LINES,
    PICKLE_SUFFIXES,
    PICTURE_MAGIC,
    PICTURE_SUFFIXES,
    UNSUPPORTED_SUFFIXES,
    Format,
    format_of,
    split_member_name,
)
from megastyle_cli.io.path_list import named_pictures
from megastyle_cli.io.readers import image_folder, jsonl
from megastyle_cli.io.readers.bounded_lines import BadLine, bounded_lines
from megastyle_cli.io.readers.compressed import SUFFIXES as COMPRESSED
from megastyle_cli.io.readers.compressed import open_decompressed
from megastyle_cli.io.record_names import rebased, with_id

POSITION_BITS = 32  # of a position for the number of a record in its segment
log = logging.getLogger(__name__)


def read_records(
    inputs: Sequence[str], *, limit: int | None = None, paths: str | None = None
) -> Iterator[Record | Failure]:
    """The records of all `inputs` in the order given, at most the first `limit`.

    What is named twice, or lies in a folder that is named too, is read where it comes first.
    `paths` is "\\n" or "\\0" if a stream holds file names so separated, None if JSON lines.
    Raises MegastyleError at once if an input does not exist or holds no records.
    """
    return islice(map(with_id, _read(inputs, paths)), limit)


def read_share(
    inputs: Sequence[str],
    share: Share,
    *,
    first: Sequence[Record] = (),
    limit: int | None = None,
    paths: str | None = None,
) -> Generator[Placed, None, None]:
    """The records of one shard, without their ids: no picture is opened. See `read_records`.

    The `first` records come before those of the inputs.
    """
    return _select([Segment(first), *_open_all(inputs, paths, share)], share, limit)


def file_names(inputs: Sequence[str], limit: int | None = None) -> Iterator[object]:
    """The `file_name` of each record that `read_records` gives, None where there is none.

    No picture is opened, and warnings of the first reading are not repeated.
    """
    readers = logging.getLogger(__package__)
    level = readers.level
    readers.setLevel(logging.ERROR)
    try:
        for found in islice(_read(inputs, None), limit):
            yield (found.record if isinstance(found, Failure) else found).get("file_name")
    finally:
        readers.setLevel(level)


def count_records(inputs: Sequence[str], limit: int | None = None) -> int | None:
    """The number of records in `inputs`; None if they would have to be read to count them."""
    names = distinct(inputs)
    counts = [None if is_stream_input(name) else _count(Path(name)) for name in names]
    if None in counts or FilesRead(names).may_repeat:
        return None
    total = sum(filter(None, counts))
    return total if limit is None else min(total, limit)


def distinct(inputs: Sequence[str]) -> list[str]:
    """The inputs without those that were named before, also by another name; streams stay."""
    first: dict[str, str] = {}
    for number, name in enumerate(inputs):
        key = f"stream {number}" if is_stream_input(name) else os.path.realpath(name)
        first.setdefault(key, name)
    return list(first.values())


def is_jsonl_input(name: str) -> bool:
    """Whether the input is JSON lines, in a file or a stream."""
    return _is_line_stream(name) or (format_of(name) is JSON_LINES and Path(name).is_file())


@contextmanager
def open_lines(name: str) -> Iterator[BinaryIO]:
    """The lines of a JSON lines input, decompressed; or of a stream, which can be opened once."""
    if is_stdin(name):
        if sys.stdin is None:
            raise MegastyleError("standard input is closed", hint="name an input")
        if cast(BufferedReader, sys.stdin.buffer).peek(4).startswith(tuple(PICTURE_MAGIC)):
            raise MegastyleError(
                "stdin is an image, not JSON lines", hint="name the image file as the input"
            )
        yield sys.stdin.buffer
    elif is_stream(name):
        if is_endless(name):
            raise MegastyleError(f"{name} is a device", hint="give a file of records or images")
        with open_stream(name, "rb") as stream:
            yield stream
    elif Path(name).suffix.lower() in COMPRESSED:
        with open_decompressed(Path(name)) as lines:
            yield cast(BinaryIO, lines)
    else:
        with Path(name).open("rb") as file:
            yield file


def records_from_lines(
    name: str, lines: Iterable[bytes | BadLine], first: int
) -> Iterator[Record | Failure]:
    """What `read_records` gives for some lines of a JSON lines input, numbered from `first`."""
    origin = "stdin" if is_stdin(name) else str(Path(name))
    base = "" if is_stream_input(name) else str(Path(name).parent)
    return map(with_id, rebased(jsonl.read_lines(lines, origin, first), base))


class FilesRead:
    """The files that were read so far; it remembers none unless one input is inside another."""

    def __init__(self, inputs: Sequence[str]) -> None:
        real = [os.path.realpath(name) for name in inputs if not is_stream_input(name)]
        folders = {path for path in real if Path(path).is_dir()} if len(real) > 1 else set()
        self.may_repeat = any(
            str(parent) in folders for path in real for parent in Path(path).parents
        )
        self.num_repeated = 0
        self._paths: set[str] = set()
        self._real_folder = lru_cache(maxsize=4096)(os.path.realpath)

    def is_new(self, path: str | Path) -> bool:
        """Whether nobody asked for this file before; it counts as read from now on."""
        if not self.may_repeat:
            return True
        folder, name = os.path.split(path)
        real = f"{self._real_folder(folder)}/{name}"
        is_new = real not in self._paths
        self._paths.add(real)
        self.num_repeated += not is_new
        return is_new


def _select(
    segments: list[Segment], share: Share, limit: int | None
) -> Generator[Placed, None, None]:
    # the position does not depend on how many records are in the segments before
    entries = (
        (number << POSITION_BITS | index, found, segment)
        for number, segment in enumerate(segments)
        for index, found in enumerate(segment.records)
    )
    for position, found, segment in islice(entries, limit):
        if found is not None and (segment.is_whole or share.owns(found, segment.base)):
            yield Placed(position, found)


def _read(inputs: Sequence[str], paths: str | None) -> Iterator[Record | Failure]:
    segments = _open_all(inputs, paths, Share())
    return (found for segment in segments for found in segment.records if found is not None)


def _open_all(inputs: Sequence[str], paths: str | None, share: Share) -> list[Segment]:
    names = distinct(inputs)
    files = FilesRead(names)
    by_file = share.takes_turns(sum(map(_is_container, names)))
    segments = [
        segment for name in names for segment in _open_input(name, paths, files, share, by_file)
    ]
    if repeated := len(inputs) - len(names) + files.num_repeated:
        kind = "input is" if repeated == 1 else "inputs are"
        log.warning("%s %s named twice and read once", f"{repeated:,}", kind)
    return segments


def _count(path: Path) -> int | None:
    if path.is_dir():
        return image_folder.count(path)
    if not path.is_file():
        return None
    row = format_of(path.name)
    return 1 if row is None else row.load().count(path)


def _open_input(
    name: str, paths: str | None, files: FilesRead, share: Share, by_file: bool
) -> list[Segment]:
    """`by_file`: whether shards take turns with the containers among the inputs."""
    path = Path(name)
    if _is_line_stream(name):
        return [Segment(_read_stream(name, paths))]
    try:
        if path.is_dir():
            return image_folder.read(path, files.is_new, share)
        is_member = not path.exists()
        if is_member and not _container_exists(name):
            raise MegastyleError(f"{name} does not exist", hint="check the path")
        if not files.is_new(os.path.realpath(name)):
            return []
        base = str(path.parent)
        if not is_member and (row := format_of(name)):
            if row.is_container and not (path.is_file() and _lists_pictures(path, row)):
                return image_folder.read_containers([path], base, share, by_file=by_file or None)
            path.open("rb").close()
            return [Segment(rebased(row.load().read(path), base), base)]
    except PermissionError as error:
        raise MegastyleError(
            f"{error.filename} is not readable", hint="check its permissions"
        ) from error
    if not is_member:
        _check_picture_name(path)
    return [Segment([{"file_name": name}])]


def _is_container(name: str) -> bool:
    row = format_of(name)
    return row is not None and row.is_container and Path(name).is_file()


def _is_line_stream(name: str) -> bool:
    # a file named like a picture fails as such a picture in a folder does
    return is_stream_input(name) and Path(name).suffix.lower() not in PICTURE_SUFFIXES


def _read_stream(name: str, paths: str | None) -> Iterator[Record | Failure]:
    with open_lines(name) as lines:
        if paths:
            yield from named_pictures(lines, paths)
        else:
            yield from records_from_lines(name, bounded_lines(lines, name), first=1)


def _container_exists(name: str) -> bool:
    """Whether `name` means a row or member of a container that is there."""
    inside = split_member_name(name)
    return inside is not None and Path(inside[0]).exists()


def _lists_pictures(path: Path, row: Format) -> bool:
    """Whether a file that may hold pictures holds none: then it lists them, as a CSV does."""
    return not row.load().holds_pictures(path)


def _check_picture_name(path: Path) -> None:
    """Raises MegastyleError for a file that is not a picture by its suffix."""
    suffix = path.suffix.lower()
    if suffix in PICKLE_SUFFIXES:
        raise MegastyleError(
            f"{path} is a pickle, which can run arbitrary code and is never opened",
            hint="give the images, parquet files or JSON lines it was made from",
        )
    if suffix in UNSUPPORTED_SUFFIXES:
        raise MegastyleError(
            f"{path}: {path.suffix} files are not supported",
            hint=f"make JSON lines of it: jq -c '.[]' {path} > {path.with_suffix('.jsonl')}"
            if suffix == ".json"
            else f"give {ACCEPTED}",
        )
