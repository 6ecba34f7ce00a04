"""A folder: by its listings, by its parts of a sharded run, or by the pictures or containers in it.

A listing is metadata.jsonl or, beside pictures, metadata.csv or metadata.parquet, as in an
ImageFolder of `datasets`; in a sub-folder it lists what is below that.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from os.path import normpath
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.core.shard import PART_NAME, Segment, Share
from megastyle_cli.io.formats import Reader, format_of
from megastyle_cli.io.parts import PartLines, check_all_there, merged
from megastyle_cli.io.readers import jsonl
from megastyle_cli.io.readers.caption_files import CaptionReader, caption_file
from megastyle_cli.io.readers.folder_files import FolderFiles, count_pictures, scan
from megastyle_cli.io.record_names import LISTING, confined
from megastyle_cli.io.shard_note import parts_of

TABLE = "metadata.csv"
IsNew = Callable[[str | Path], bool]
log = logging.getLogger(__name__)


def read(folder: Path, is_new: IsNew = lambda _: True, share: Share | None = None) -> list[Segment]:
    """The records of a folder. Raises MegastyleError if it holds none, or is not complete.

    A picture without a listing has the caption beside it as `text`. Files that are not read are
    counted in one line. A file that is not new, because another input had it, is left out.
    """
    share = share or Share()
    listing = folder / LISTING
    if listing.exists():
        return _one(folder, confined(jsonl.read(listing), listing) if is_new(listing) else ())
    _check_complete(folder)
    if found_parts := parts_of(folder):
        check_all_there(folder, found_parts)
        return _one(folder, merged([_part(path, is_new) for path in found_parts]))
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
        found.pictures[:] = filter(is_new, found.pictures)
        found.listings = {name: beside for name, beside in found.listings.items() if is_new(name)}
        return _one(folder, _pictures(folder, found, share))
    if containers and table.exists():
        return _one(folder, _with_attributes(containers, table, share)) if is_new(table) else []
    if containers:
        return read_containers([path for path in containers if is_new(path)], str(folder), share)
    raise MegastyleError(
        f"{folder} holds no images, no metadata.jsonl, no parts, no parquet files or tars",
        hint="check the path",
    )


def count(folder: Path) -> int | None:
    """The number of records in a folder; None if it would have to be read to count them."""
    if (folder / LISTING).exists():
        return jsonl.count(folder / LISTING)
    if parts := parts_of(folder):
        listings = [path / LISTING if path.is_dir() else path for path in parts]
        return sum(jsonl.count(path) or 0 for path in listings if path.is_file())
    if (folder / TABLE).exists():
        return None
    if number := count_pictures(folder):
        return number
    found = scan(folder)
    files = [*found.containers, *map(Path, found.listings)]
    counts = [len(found.pictures), *(_reader(path).count(path) for path in files)]
    return None if None in counts else sum(filter(None, counts))


def read_containers(
    paths: Sequence[Path], base: str, share: Share, *, by_file: bool | None = None
) -> list[Segment]:
    """The records of parquet files and tars. Raises MegastyleError at once if one is neither.

    Shards take turns with files (`by_file`, by default if there are more files than shards).
    """
    by_file = share.takes_turns(len(paths)) if by_file is None else by_file
    if by_file:
        ours = share.turns([os.path.relpath(path, base) for path in paths])
        return [
            Segment(_read_container(path) if is_ours else (), base, is_whole=True)
            for path, is_ours in zip(paths, ours, strict=True)
        ]
    if share.is_all:
        return [Segment(_read_container(path), base) for path in paths]
    groups = sum(map(_num_groups, paths))
    by_group = share.takes_turns(groups)
    return [_divided_container(path, base, share, by_group) for path in paths]


def _read_container(path: Path) -> Iterator[Record | Failure]:
    _check_is_file(path)
    return confined(_reader(path).read(path), path)


def _divided_container(path: Path, base: str, share: Share, by_group: bool) -> Segment:
    """A container that shards share: parquet by row group or row, a tar by sample."""
    if not (groups := _num_groups(path)):
        return Segment(_read_container(path), base)
    from megastyle_cli.io.readers import parquet

    name = os.path.relpath(path, base)
    ours = share.turns([f"{name}#{n}" for n in range(groups)]) if by_group else [True] * groups
    rows = parquet.read_share(path, ours, with_ids=by_group)
    return Segment(confined(rows, path), base, is_whole=by_group)


def _num_groups(path: Path) -> int:
    """The number of row groups of a parquet file; 0 of a tar."""
    _check_is_file(path)
    if path.suffix.lower() != ".parquet":
        return 0
    from megastyle_cli.io.readers import parquet

    return parquet.num_groups(path)


def _check_is_file(path: Path) -> None:
    if not path.is_file():
        raise MegastyleError(f"{path} is not a regular file", hint="give a file or a folder")


def _reader(path: Path) -> Reader:
    row = format_of(path.name)
    assert row is not None
    return row.load()


def _one(folder: Path, records: Iterable[Record | Failure | None]) -> list[Segment]:
    return [Segment(records, str(folder))]


def _check_complete(folder: Path) -> None:
    names = sorted(path.name for path in folder.glob("*.jsonl.partial"))
    partial = [name for name in names if name.startswith("metadata.") or PART_NAME.match(name)]
    if partial:
        raise MegastyleError(
            f"{folder} is incomplete: it holds {partial[0]}",
            hint="finish the command that writes it with --resume",
        )


def _part(path: Path, is_new: IsNew) -> PartLines:
    """A part: a file, or a folder with its listing."""
    listing = path / LISTING if path.is_dir() else path
    if not listing.exists():
        raise MegastyleError(
            f"{path} is incomplete: it has no {LISTING}", hint="finish it with --resume"
        )
    records = confined(jsonl.read(listing), listing) if is_new(listing) else ()
    return PartLines(listing, records)


def _with_attributes(
    containers: list[Path], table: Path, share: Share
) -> Iterator[Record | Failure | None]:
    """The rows of parquet files, each with the style attributes that the table beside them has."""
    if any(path.suffix.lower() != ".parquet" for path in containers):
        raise MegastyleError(
            f"{table} is beside tars and cannot be joined with them", hint="give the tars as inputs"
        )
    from megastyle_cli.io.readers import parquet
    from megastyle_cli.io.readers.release_attributes import with_attributes

    counts = [parquet.count(path) for path in containers]
    base = str(table.parent)
    segments = read_containers(containers, base, share, by_file=False)
    return with_attributes([segment.records for segment in segments], counts, table)


def _pictures(folder: Path, found: FolderFiles, share: Share) -> Iterator[Record | Failure | None]:
    """The pictures in order of their paths; those of a listing in its order and at its place.

    None stands for a picture of another shard, whose caption is not read.
    """
    captions, base = CaptionReader(folder), str(folder)
    for name in merge(found.pictures, sorted(found.listings)):
        if name in found.listings:
            yield from _listed(Path(name), found.listings[name])
            continue
        if not share.owns_name(name, base):
            yield None
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
