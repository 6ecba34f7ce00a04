"""Inputs to records: pictures, folders, files of every format in `formats`, standard input.

A record leaves here with an `id`, without `_error`, and with picture names that open from the
working directory (the output makes them relative to its own).
"""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.archive_member import split_member_name
from megastyle_cli.io.formats import ACCEPTED, JSON_LINES, PICKLE_SUFFIXES, format_of
from megastyle_cli.io.readers import image_folder, jsonl
from megastyle_cli.io.record_names import rebased, with_id

# what people name as an input and no reader here takes
UNSUPPORTED_SUFFIXES = (".json", ".txt", ".zip", ".tgz", ".gz", ".bz2", ".xz", ".zst")


def read_records(
    inputs: Sequence[str], *, limit: int | None = None, paths: str | None = None
) -> Iterator[Record | Failure]:
    """The records of all `inputs` in the order given, at most the first `limit`.

    `paths` is "\\n" or "\\0" if standard input holds file names so separated, None if JSON lines.
    Raises MegastyleError at once if an input does not exist or holds no records.
    """
    if inputs.count("-") > 1:
        raise MegastyleError("standard input (-) can be read only once", hint="give one - only")
    readers = [_open_input(name, paths) for name in inputs]
    return islice((with_id(found) for reader in readers for found in reader), limit)


def count_records(inputs: Sequence[str], limit: int | None = None) -> int | None:
    """How many records `inputs` hold; None if that takes reading them."""
    counts = [_count(Path(name)) for name in inputs]
    if None in counts:
        return None
    total = sum(filter(None, counts))
    return total if limit is None else min(total, limit)


def is_jsonl_input(name: str) -> bool:
    """Whether the input is JSON lines, in a file or on standard input."""
    path = Path(name)
    return name == "-" or (format_of(name) is JSON_LINES and path.exists() and not path.is_dir())


def records_from_lines(name: str, lines: Iterable[bytes], first: int) -> Iterator[Record | Failure]:
    """What `read_records` gives for some lines of a JSON lines input, numbered from `first`."""
    origin, base = ("stdin", "") if name == "-" else (str(Path(name)), str(Path(name).parent))
    return map(with_id, rebased(jsonl.read_lines(lines, origin, first), base))


def _count(path: Path) -> int | None:
    if path.is_dir():
        return image_folder.count(path)
    if not path.is_file():
        return None
    row = format_of(path.name)
    return 1 if row is None else row.load().count(path)


def _open_input(name: str, paths: str | None) -> Iterable[Record | Failure]:
    if name == "-":
        return _read_stdin(paths)
    path = Path(name)
    inside, row = split_member_name(name), format_of(name)
    try:
        if path.is_dir():
            return image_folder.read(path)
        if not Path(inside[0] if inside else name).exists():
            raise MegastyleError(f"{name} does not exist", hint="check the path")
        if row is not None and row.is_container and not inside:
            return image_folder.read_container(path)
        if row is not None and not inside:
            path.open("rb").close()
            return rebased(row.load().read(path), str(path.parent))
    except PermissionError as error:
        raise MegastyleError(
            f"{error.filename} may not be read", hint="check permissions"
        ) from error
    if not inside:
        _check_picture_name(path)
    return iter([{"file_name": name}])


def _read_stdin(paths: str | None) -> Iterable[Record | Failure]:
    if sys.stdin is None:
        raise MegastyleError("standard input is closed", hint="name an input")
    lines = sys.stdin.buffer
    if paths:
        return _named_pictures(lines, paths)
    return rebased(jsonl.read_lines(lines, "stdin"), "")


def _named_pictures(stream: Iterable[bytes], separator: str) -> Iterator[Record]:
    """One record for each file name on standard input, separated by newlines or NUL."""
    if separator == "\n":
        names: Iterable[bytes] = (line.rstrip(b"\r\n") for line in stream)
    else:
        names = b"".join(stream).split(b"\0")
    return ({"file_name": os.fsdecode(name)} for name in names if name)


def _check_picture_name(path: Path) -> None:
    """Raises MegastyleError for a file that is no picture by its suffix."""
    suffix = path.suffix.lower()
    if suffix in PICKLE_SUFFIXES:
        raise MegastyleError(
            f"{path} is a pickle, which could run any code: it is never opened",
            hint="name the pictures, parquet files or JSON lines it was made from",
        )
    if suffix in UNSUPPORTED_SUFFIXES:
        raise MegastyleError(f"{path}: {path.suffix} files are not read", hint=f"give {ACCEPTED}")
