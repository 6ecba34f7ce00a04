"""Inputs to records: pictures, folders, JSON lines, tables, parquet, tars, stdin.

A record leaves here with an `id`, without `_error`, and with picture names that open from the
working directory (the sink turns them to its own directory).

A JSON lines file or table that a person names may name pictures anywhere. What comes along with a
folder, in a tar or in parquet may be a stranger's: its names stay inside the folder, or the record
fails, unless a note of ours (run.json) says that it is an output of these commands.
"""

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import (
    PICTURE_KEYS,
    Failure,
    Record,
    bytes_id,
    rename_pictures,
    text_id,
)
from megastyle_cli.core.shard import PART_NAME
from megastyle_cli.io.archive_member import picture_bytes, split_member_name
from megastyle_cli.io.readers.csv import is_csv, read_csv
from megastyle_cli.io.readers.jsonl import is_jsonl, read_jsonl, read_lines
from megastyle_cli.io.relative_paths import (
    LISTING,
    PICTURE_SUFFIXES,
    escapes_folder,
    from_folder,
    from_listing_keys,
)

TABLE = "metadata.csv"
SHARD_SUFFIXES = (".parquet", ".tar")
# what people name as an input and nobody here reads
FOREIGN_SUFFIXES = (".json", ".txt", ".zip", ".tgz", ".gz", ".bz2", ".xz", ".zst")
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib")
log = logging.getLogger(__name__)


def read_records(
    inputs: Sequence[str], *, limit: int | None = None, paths: str | None = None
) -> Iterator[Record | Failure]:
    """The records of all `inputs` in the order given, at most the first `limit`.

    `paths` is "\\n" or "\\0" if standard input holds file names so separated, None if JSON lines.
    Raises MegastyleError at once if an input does not exist or says nothing.
    """
    if inputs.count("-") > 1:
        raise MegastyleError("standard input (-) can be read only once", hint="give one - only")
    readers = [_reader(name, paths) for name in inputs]
    return islice((with_id(found) for reader in readers for found in reader), limit)


def is_jsonl_input(name: str) -> bool:
    """Whether the input is JSON lines, in a file or on standard input."""
    path = Path(name)
    return name == "-" or (is_jsonl(name) and path.exists() and not path.is_dir())


def records_from_lines(name: str, lines: Iterable[bytes], first: int) -> Iterator[Record | Failure]:
    """What `read_records` gives for some lines of an input; `first` is the number of the first."""
    origin, base = ("stdin", "") if name == "-" else (str(Path(name)), str(Path(name).parent))
    return map(with_id, _rebased(read_lines(lines, origin, first), base))


def count_records(inputs: Sequence[str], limit: int | None = None) -> int | None:
    """How many records `inputs` hold, if that can be told without decoding any; else None."""
    total = 0
    for name in inputs:
        counted = _count(Path(name))
        if counted is None:
            return None
        total += counted
    return total if limit is None else min(total, limit)


def _count(path: Path) -> int | None:
    listing = path / LISTING
    if listing.exists():
        return _count_lines(listing)
    if path.is_dir() and (path / TABLE).exists():
        return None
    if path.is_dir() and not _parts(path):
        pictures, shards = _found_below(path)
        rows = [_count(shard) for shard in shards]
        return None if None in rows else len(pictures) + sum(filter(None, rows))
    # a tar or a table would have to be read through
    if not path.is_file() or path.suffix.lower() == ".tar" or is_csv(path.name):
        return None
    if path.suffix.lower() == ".parquet":
        from megastyle_cli.io.readers.parquet import count_rows

        return count_rows(path)
    if is_jsonl(path.name):
        return _count_lines(path) if path.suffix == ".jsonl" else None
    return 1


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def with_id(found: Record | Failure) -> Record | Failure:
    """The record with its `id`: its own, else its picture's, else its text's."""
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


def _reader(name: str, paths: str | None) -> Iterable[Record | Failure]:
    if name == "-":
        if sys.stdin is None:
            raise MegastyleError("standard input is closed", hint="name an input")
        lines = sys.stdin.buffer
        return _named_pictures(lines, paths) if paths else _rebased(read_lines(lines, "stdin"), "")
    path = Path(name)
    try:
        if path.is_dir():
            return _directory(path)
        place = split_member_name(name)
        if not Path(name if place is None else place[0]).exists():
            raise MegastyleError(f"{name} does not exist", hint="check the path")
        if place is not None:
            return iter([{"file_name": name}])
        if is_jsonl(name):
            path.open("rb").close()
            return _rebased(read_jsonl(path), str(path.parent))
        if is_csv(name):
            return _rebased(read_csv(path), str(path.parent))
        if path.suffix.lower() in SHARD_SUFFIXES:
            return _shard(path)
    except PermissionError as error:
        raise MegastyleError(
            f"{error.filename} may not be read", hint="check permissions"
        ) from error
    if path.suffix.lower() in PICKLES:
        raise MegastyleError(
            f"{name} is a pickle, which could run any code: it is never opened",
            hint="name the pictures, parquet files or JSON lines it was made from",
        )
    if path.suffix.lower() in FOREIGN_SUFFIXES:
        raise MegastyleError(
            f"{name}: {path.suffix} files are not read",
            hint="give pictures, folders, JSON lines (.jsonl, .jsonl.gz, .bz2, .xz, .zst),"
            " .csv, .tsv, .parquet or uncompressed .tar",
        )
    return iter([{"file_name": name}])


def _shard(path: Path) -> Iterable[Record | Failure]:
    """The records of a parquet file or a tar. Raises MegastyleError at once if it is neither."""
    if not path.is_file():
        raise MegastyleError(f"{path} is not a regular file", hint="give a file or a folder")
    if path.suffix.lower() == ".tar":
        from megastyle_cli.io.readers.webdataset import read_tar

        return _inside(read_tar(path), path)
    from megastyle_cli.io.readers.parquet import read_parquet

    return _inside(read_parquet(path), path)


def _directory(folder: Path) -> Iterable[Record | Failure]:
    listing = folder / LISTING
    if listing.exists():
        return _inside(read_jsonl(listing), listing)
    unfinished = sorted(path.name for path in folder.glob("*.jsonl.partial"))
    unfinished = [
        name for name in unfinished if name.startswith("metadata.") or PART_NAME.match(name)
    ]
    if unfinished:
        raise MegastyleError(
            f"{folder} is not complete: it holds {unfinished[0]}",
            hint="finish the command that writes it with --resume",
        )
    parts = _parts(folder)
    if parts:
        readers = [_part(part) for part in parts]  # all at once: an unfinished one is said now
        return (found for reader in readers for found in reader)
    pictures, shards = _found_below(folder)
    table = folder / TABLE
    if pictures and not shards and table.exists():  # an ImageFolder's other listing
        return _inside(read_csv(table), table)
    if not pictures and not shards:
        raise MegastyleError(
            f"{folder} holds no pictures, no metadata.jsonl, no parts, no parquet files or tars",
            hint="check the path",
        )
    if pictures and shards:
        raise MegastyleError(
            f"{folder} holds pictures ({pictures[0]}) and shards ({shards[0]})",
            hint="name the ones or the others",
        )
    if shards and table.exists():
        return _described(shards, table)
    if shards:
        readers = [_shard(shard) for shard in shards]  # all at once: no shard is said now
        return (found for reader in readers for found in reader)
    return ({"file_name": name} for name in pictures)


def _described(shards: list[Path], table: Path) -> Iterable[Record | Failure]:
    """The rows of parquet files with the attributes that a table beside them tells."""
    if any(shard.suffix.lower() != ".parquet" for shard in shards):
        raise MegastyleError(
            f"{table} lies beside tars, which it cannot be joined to", hint="name the tars"
        )
    from megastyle_cli.io.readers.parquet import count_rows
    from megastyle_cli.io.readers.release_attributes import with_attributes

    return with_attributes(shards, table, lambda shard: iter(_shard(shard)), count_rows)


def _parts(folder: Path) -> list[Path]:
    found = [
        path for path in folder.iterdir() if PART_NAME.fullmatch(path.name.removesuffix(".jsonl"))
    ]
    counts = {int(PART_NAME.match(path.name)[2]) for path in found}  # type: ignore[index]
    if len(counts) > 1:
        raise MegastyleError(f"{folder} holds parts of {sorted(counts)}", hint="keep one set")
    if counts and len(found) != (count := counts.pop()):
        raise MegastyleError(
            f"{folder} holds {len(found)} of {count} parts", hint="run the missing shards first"
        )
    return sorted(found)


def _part(path: Path) -> Iterable[Record | Failure]:
    if path.is_dir() and not (path / LISTING).exists():
        raise MegastyleError(
            f"{path} is not complete: no metadata.jsonl", hint="finish it with --resume"
        )
    return _directory(path) if path.is_dir() else _inside(read_jsonl(path), path)


def _found_below(folder: Path) -> tuple[list[str], list[Path]]:
    """Every picture and every shard below `folder` by suffix, sorted; hidden ones are left out."""
    pictures: list[str] = []
    shards: list[Path] = []
    for directory, folders, files in os.walk(folder, onerror=_cannot_list):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            suffix = Path(name).suffix.lower()
            if name.startswith("."):
                continue
            if suffix in PICKLES:
                log.warning("%s is a pickle and is not opened", Path(directory, name))
            if suffix in PICTURE_SUFFIXES:
                pictures.append(str(Path(directory, name)))
            elif suffix in SHARD_SUFFIXES:
                shards.append(Path(directory, name))
    return sorted(pictures), sorted(shards)


def _cannot_list(error: OSError) -> None:
    raise MegastyleError(f"{error.filename} may not be listed", hint="check permissions")


def _named_pictures(stream: Iterable[bytes], separator: str) -> Iterator[Record]:
    """One record for each file name on standard input, separated by newlines or NUL."""
    if separator == "\n":
        names: Iterable[bytes] = (line.rstrip(b"\r\n") for line in stream)
    else:
        names = b"".join(stream).split(b"\0")
    return ({"file_name": os.fsdecode(name)} for name in names if name)


def _inside(found: Iterable[Record | Failure], listing: Path) -> Iterator[Record | Failure]:
    """`_rebased` to the folder of `listing`; a record fails that names a picture outside of it."""
    notes = ("run.json", f"{listing.name.partition('.')[0]}.run.json")
    if not any((listing.parent / note).is_file() for note in notes):
        found = (_kept_inside(told, listing) for told in found)
    return _rebased(found, str(listing.parent))


def _kept_inside(told: Record | Failure, listing: Path) -> Record | Failure:
    if isinstance(told, Failure):
        return told
    record = from_listing_keys(told)
    listed = record.get("neighbors")
    near = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    for key, name in [
        *((key, record.get(key)) for key in PICTURE_KEYS),
        *(("neighbors", one.get("file_name")) for one in near),
    ]:
        if isinstance(name, str) and escapes_folder(name):
            why = f"{listing}: {key} {name!r} leads out of the folder, which only a listing may do"
            return Failure(record, "bad_image", f"{why} that is named itself, or was made by us")
    return told


def _rebased(found: Iterable[Record | Failure], base: str) -> Iterator[Record | Failure]:
    """Records whose picture names were relative to `base`, now to the working directory."""
    here = from_folder(base)
    for told in found:
        record = told if isinstance(told, Failure) else from_listing_keys(told)
        if base in ("", ".") or isinstance(record, Failure):
            yield record
            continue
        # a text's id is of its words as they stand there, from wherever they are read
        named = with_id(record) if record.get("file_name") is None else record
        yield named if isinstance(named, Failure) else rename_pictures(named, here)
