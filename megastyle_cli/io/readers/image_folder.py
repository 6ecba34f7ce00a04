"""A folder: by its listings, by its parts of a sharded run, or by the pictures or containers in it.

A listing is metadata.jsonl or, beside pictures, metadata.csv or metadata.parquet, as in an
ImageFolder of `datasets`; in a sub-folder it lists what is below that.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from os.path import normpath
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.core.shard import PART_NAME
from megastyle_cli.io.formats import Reader, format_of
from megastyle_cli.io.readers import jsonl
from megastyle_cli.io.readers.caption_files import CaptionReader, caption_file
from megastyle_cli.io.readers.folder_files import FolderFiles, scan
from megastyle_cli.io.record_names import LISTING, confined

TABLE = "metadata.csv"
IsNew = Callable[[str | Path], bool]
log = logging.getLogger(__name__)


def read(folder: Path, is_new: IsNew = lambda _: True) -> Iterable[Record | Failure]:
    """The records of a folder. Raises MegastyleError if it holds none, or is not complete.

    A picture without a listing has the caption beside it as `text`. Files that are not read are
    counted in one line. A file that is not new, because another input had it, is left out.
    """
    listing = folder / LISTING
    if listing.exists():
        return confined(jsonl.read(listing), listing) if is_new(listing) else ()
    _check_complete(folder)
    if parts := _parts(folder):
        return _chained([_read_part(part, is_new) for part in parts])
    found = scan(folder)
    pictures, containers = found.pictures or [*found.listings], found.containers
    table = folder / TABLE
    found.warn_skipped(folder)
    if pictures and containers:
        raise MegastyleError(
            f"{folder} holds both images ({pictures[0]}) and shards ({containers[0]})",
            hint="give only the images or only the shards as inputs",
        )
    if pictures:
        found.pictures = [*filter(is_new, found.pictures)]
        found.listings = {name: beside for name, beside in found.listings.items() if is_new(name)}
        return _pictures(folder, found)
    if containers and table.exists():
        return _with_attributes(containers, table) if is_new(table) else ()
    if containers:
        return _chained([read_container(path) for path in containers if is_new(path)])
    raise MegastyleError(
        f"{folder} holds no images, no metadata.jsonl, no parts, no parquet files or tars",
        hint="check the path",
    )


def count(folder: Path) -> int | None:
    """The number of records in a folder; None if it would have to be read to count them."""
    if (folder / LISTING).exists():
        return jsonl.count(folder / LISTING)
    if (folder / TABLE).exists() or _parts(folder):
        return None
    found = scan(folder)
    files = [*found.containers, *map(Path, found.listings)]
    counts = [len(found.pictures), *(_reader(path).count(path) for path in files)]
    return None if None in counts else sum(filter(None, counts))


def read_container(path: Path) -> Iterator[Record | Failure]:
    """The records of a parquet file or a tar. Raises MegastyleError at once if it is neither."""
    if not path.is_file():
        raise MegastyleError(f"{path} is not a regular file", hint="give a file or a folder")
    return confined(_reader(path).read(path), path)


def _reader(path: Path) -> Reader:
    row = format_of(path.name)
    assert row is not None
    return row.load()


def _chained(readers: list[Iterable[Record | Failure]]) -> Iterator[Record | Failure]:
    # a list, so that what cannot be opened is reported now
    return (found for reader in readers for found in reader)


def _check_complete(folder: Path) -> None:
    names = sorted(path.name for path in folder.glob("*.jsonl.partial"))
    partial = [name for name in names if name.startswith("metadata.") or PART_NAME.match(name)]
    if partial:
        raise MegastyleError(
            f"{folder} is incomplete: it holds {partial[0]}",
            hint="finish the command that writes it with --resume",
        )


def _parts(folder: Path) -> list[Path]:
    found = {}
    for path in folder.iterdir():
        if match := PART_NAME.fullmatch(path.name.removesuffix(".jsonl")):
            found[path] = int(match[2])
    counts = set(found.values())
    if len(counts) > 1:
        raise MegastyleError(
            f"{folder} holds parts of runs with {sorted(counts)} shards", hint="keep one run"
        )
    if counts and len(found) != (count := counts.pop()):
        raise MegastyleError(
            f"{folder} holds {len(found)} of {count} parts", hint="run the missing shards first"
        )
    return sorted(found)


def _read_part(path: Path, is_new: IsNew) -> Iterable[Record | Failure]:
    if path.is_dir() and not (path / LISTING).exists():
        raise MegastyleError(
            f"{path} is incomplete: it has no metadata.jsonl", hint="finish it with --resume"
        )
    if path.is_dir():
        return read(path, is_new)
    return confined(jsonl.read(path), path) if is_new(path) else ()


def _with_attributes(containers: list[Path], table: Path) -> Iterator[Record | Failure]:
    """The rows of parquet files, each with the style attributes that the table beside them has."""
    if any(path.suffix.lower() != ".parquet" for path in containers):
        raise MegastyleError(
            f"{table} is beside tars and cannot be joined with them", hint="give the tars as inputs"
        )
    from megastyle_cli.io.readers import parquet
    from megastyle_cli.io.readers.release_attributes import with_attributes

    counts = [parquet.count(path) for path in containers]
    return with_attributes([read_container(path) for path in containers], counts, table)


def _pictures(folder: Path, found: FolderFiles) -> Iterator[Record | Failure]:
    """The pictures in order of their paths; those of a listing in its order and at its place."""
    captions = CaptionReader(folder)
    for name in sorted([*found.pictures, *found.listings]):
        if name in found.listings:
            yield from _listed(Path(name), found.listings[name])
            continue
        caption = caption_file(name, found.others)
        text = captions.read(caption) if caption else None
        yield {"file_name": name, **({"text": text} if text else {})}
    captions.warn_unread()


def _listed(listing: Path, pictures: list[str]) -> Iterator[Record | Failure]:
    """The records of a listing; the `pictures` beside it that it leaves out are counted."""
    left_out = set(map(normpath, pictures))
    for found in confined(_reader(listing).read(listing), listing):
        record = found.record if isinstance(found, Failure) else found
        left_out.discard(str(record.get("file_name")))
        yield found
    if left_out:
        log.warning(
            "%s: %s images beside it are not listed and are skipped", listing, f"{len(left_out):,}"
        )
