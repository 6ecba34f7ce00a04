"""Data sets of generated pictures: files in a folder, or shards (WebDataset tars, parquet files).

A shard has a fixed number of records in output order and appears complete. Until then its pictures
lie in a hidden folder beside it, so that a killed run loses none of them and a resumed one writes
the same bytes.
"""

import os
import re
import shutil
import struct
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.core.atomic_file import FileGroup, atomic_open
from megastyle_cli.core.choices import Container, PictureFormat
from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.json_file import complete_objects
from megastyle_cli.core.record import Record, text_hash
from megastyle_cli.io.formats import PICTURE_SUFFIXES, picture_bytes, split_member_name
from megastyle_cli.io.picture_names import PictureNames, comparable
from megastyle_cli.io.record_names import escapes_folder, safe_name

UNPACKED = ".unpacked"
QUALITY = 92
CHECKED_TOGETHER = 4096  # pictures of an earlier run
SHARD_NAME = re.compile(r"train-\d{5,}\.(tar|parquet)")  # as in the releases

# Writes the records of a shard, each with the bytes of its picture, to a file.
WriteShard = Callable[[BinaryIO, Iterable[tuple[Record, bytes]]], None]


@dataclass(frozen=True, kw_only=True)
class ShardFormat:
    """One row: the suffix of a shard, and the module in `writers/` whose `write` makes one."""

    suffix: str
    module: str  # imported when needed: it may need a package that is not installed
    has_members: bool  # a picture is named by its file name in the shard, else by its row

    def load(self) -> WriteShard:
        """The function that writes a shard. Raises MegastyleError if a package is missing."""
        module = import_module(f"megastyle_cli.io.writers.{self.module}")
        return cast(WriteShard, module.write)


SHARD_FORMATS: dict[Container, ShardFormat] = {
    "webdataset": ShardFormat(suffix=".tar", module="webdataset", has_members=True),
    "parquet": ShardFormat(suffix=".parquet", module="parquet", has_members=False),
}


@dataclass(frozen=True, kw_only=True)
class ImageFormat:
    """How pictures are stored: in which container, in which format, how many in a shard.

    `quality` applies to JPEG and WebP, 1 to 100; None is QUALITY.
    """

    container: Container = "folder"
    picture_format: PictureFormat = "png"
    quality: int | None = None
    num_per_shard: int = 1000

    def __post_init__(self) -> None:
        if self.quality is not None and self.picture_format == "png":
            raise MegastyleError(
                f"--quality {self.quality} is for jpg and webp, and a png loses nothing",
                hint="add --picture-format jpg",
            )

    @property
    def suffix(self) -> str:
        """The suffix of a picture's name."""
        return f".{self.picture_format}"

    def as_options(self) -> dict[str, Any]:
        """The settings that change the bytes of an output, as options of a run."""
        options: dict[str, Any] = {
            "format": self.container,
            "picture_format": self.picture_format,
        }
        if self.picture_format != "png":
            options["quality"] = self.quality or QUALITY
        if self.container != "folder":
            options["shard_size"] = self.num_per_shard
        return options


class ImageWriter(Protocol):
    """Stores generated pictures.

    A picture is written to `files` as `path_for` its record, which is called once for each: by its
    id and, if it was made from a picture, by that one's name. `add` is called for each record in
    output order and returns it with the final name of its picture; `files` are committed before its
    line is written. When `is_full`, and the lines of the records are written, `pack` is called;
    `commit` follows after the last line. `damaged` counts the ids of records in an earlier listing
    whose pictures must be generated again.
    """

    layout: ImageFormat
    files: FileGroup
    damaged: Counter[str]

    @property
    def is_full(self) -> bool: ...
    def open(self, *, resume: bool) -> None: ...
    def path_for(self, record_id: str, source: object) -> Path: ...
    def add(self, record: Record) -> Record: ...
    def pack(self) -> None: ...
    def commit(self) -> None: ...


class ImageFolderWriter:
    """Pictures as files, with the names and sub-folders of those that they were made from."""

    is_full = False

    def __init__(
        self, base: Path, layout: ImageFormat, before: Path | None, names: PictureNames
    ) -> None:
        self.base, self.layout, self.before, self.names = base, layout, before, names
        self.files = FileGroup()
        self.damaged: Counter[str] = Counter()
        self._damaged_names: dict[str, deque[str]] = defaultdict(deque)  # by id, as they are listed
        self._taken: set[int] = set()  # hashes of the names in this output
        self._next_number: dict[str, int] = {}  # of names that were taken

    def open(self, *, resume: bool) -> None:
        """Looks for listed pictures that are missing or cut off."""
        if not (resume and self.before):
            return
        listed, wrong = complete_objects(self.before), set()
        while some := list(islice(listed, CHECKED_TOGETHER)):
            checks = zip(some, parallel_map(self._has_picture, some), strict=True)
            wrong |= {record["id"] for record, is_whole in checks if not is_whole}
            for record in some:
                self._take(os.path.splitext(str(record.get("file_name", "")))[0])  # noqa: PTH122
        for record in complete_objects(self.before) if wrong else ():
            if record["id"] in wrong:
                self.damaged[record["id"]] += 1
                self._damaged_names[record["id"]].append(str(record.get("file_name")))

    def _has_picture(self, record: Record) -> bool:
        name = str(record.get("file_name", ""))
        is_other = not name or escapes_folder(name) or split_member_name(str(self.base / name))
        return bool(is_other) or is_whole_picture(self.base / name)

    def path_for(self, record_id: str, source: object) -> Path:
        """Where to save the picture of a record; one that was damaged keeps its name."""
        if names := self._damaged_names.get(record_id):
            return self.base / names.popleft()
        name = self.names.name_for(record_id, source)
        return self.base / f"{self._free(name)}{self.layout.suffix}"

    def _free(self, name: str) -> str:
        """The name if no record of this output has it, else that with a number: a~1, a~2."""
        if self._take(name):
            return name
        number = self._next_number.get(name, 1)
        while not self._take(f"{name}~{number}"):
            number += 1
        self._next_number[name] = number + 1
        return f"{name}~{number}"

    def _take(self, name: str) -> bool:
        """Whether the name, without its suffix, was free; it is taken from now on."""
        size, key = len(self._taken), text_hash(comparable(name))
        self._taken.add(key)
        return len(self._taken) > size

    def add(self, record: Record) -> Record:
        """The record unchanged: its picture stays where it was saved."""
        return record

    def pack(self) -> None: ...

    def commit(self) -> None: ...


class ImageShardWriter:
    """Pictures in BASE/train-00000.tar and so on, or .parquet, each of `num_per_shard` records.

    Line n of the listing is record n, which determines its shard and row: the listing of a killed
    run shows what is left to do. `before` is that listing, if there is one. Raises MegastyleError
    if the folder holds shards that the listing does not name.
    """

    def __init__(self, base: Path, layout: ImageFormat, before: Path | None) -> None:
        self.base, self.layout, self.before = base, layout, before
        self.files = FileGroup()
        self.damaged: Counter[str] = Counter()  # none: a shard is complete once it has its name
        self.format = SHARD_FORMATS[layout.container]
        self.write_shard = self.format.load()
        self._earlier_shards = _listed_shards(base, before)
        self.unpacked = base / UNPACKED
        self._records: list[Record] = []  # of the shard that is not full
        self._number = 0  # of that shard
        self._num_pictures: Counter[str] = Counter()  # by id

    def open(self, *, resume: bool) -> None:
        """Continues after the last line of the listing, or deletes earlier shards."""
        if resume:
            assert self.before is not None
            self._continue_after(self.before)
            return
        for path in self._earlier_shards:
            path.unlink()
        shutil.rmtree(self.unpacked, ignore_errors=True)

    def path_for(self, record_id: str, source: object) -> Path:
        """Where to save the picture of a record until its shard is written."""
        earlier = self._num_pictures[record_id]
        self._num_pictures[record_id] += 1
        # no dots: the key of a WebDataset sample ends at the first one
        name = safe_name(record_id, earlier, signs="_-")
        return self.unpacked / f"{name}{self.layout.suffix}"

    def add(self, record: Record) -> Record:
        """The record with the name of its picture in the shard, relative to the folder."""
        name = Path(record["file_name"]).name
        row = len(self._records)
        self.files.rename(self.unpacked / name, self._path_of_row(row))
        member = name if self.format.has_members else str(row)
        added = {**record, "file_name": f"{self._shard().name}#{member}"}
        self._records.append(added)
        return added

    @property
    def is_full(self) -> bool:
        """Whether the shard has all its records."""
        return len(self._records) == self.layout.num_per_shard

    def pack(self) -> None:
        """Writes the shard, and begins the next."""
        self._write()
        self._records = []
        self._number += 1

    def commit(self) -> None:
        """Writes the last shard, and deletes the hidden folder."""
        if self._records:
            self._write()
        shutil.rmtree(self.unpacked, ignore_errors=True)

    def _continue_after(self, listing: Path) -> None:
        for record in complete_objects(listing):
            if _shard_of(record) != self._shard().name:
                kind, count = self.layout.container, self.layout.num_per_shard
                raise MegastyleError(
                    f"{listing} names {record.get('file_name')}, which --format {kind} with"
                    f" --shard-size {count} does not write there",
                    hint="repeat the options, or --overwrite to start again",
                )
            self._records.append(record)
            self._num_pictures[record["id"]] += 1
            if self.is_full:
                self.pack()

    def _write(self) -> None:
        """Writes the shard, unless it exists and no picture is new."""
        shard = self._shard()
        pictures = [self._path_of_row(row) for row in range(len(self._records))]
        if shard.exists() and not any(path.exists() for path in pictures):
            return
        with atomic_open(shard) as file:
            self.write_shard(file, self._rows(pictures))
        for path in pictures:
            path.unlink(missing_ok=True)

    def _rows(self, pictures: list[Path]) -> Iterator[tuple[Record, bytes]]:
        """The records with their pictures, which may be in an earlier version of the shard."""
        for record, path in zip(self._records, pictures, strict=True):
            try:
                content = (
                    path.read_bytes()
                    if is_whole_picture(path)
                    else picture_bytes(str(self.base / record["file_name"]))
                )
            except BadRecord as bad:
                raise MegastyleError(
                    f"the image of record {record['id']} is missing: {bad.message}",
                    hint="--overwrite starts again",
                ) from bad
            yield record, content

    def _shard(self) -> Path:
        return self.base / f"train-{self._number:05}{self.format.suffix}"

    def _path_of_row(self, row: int) -> Path:
        """Where the picture of a row is kept; no name made from an id begins with a #."""
        return self.unpacked / f"#{self._number * self.layout.num_per_shard + row}"


def image_writer_for(
    base: Path, layout: ImageFormat, before: Path | None, names: PictureNames
) -> ImageWriter:
    """What stores pictures as `layout` says; `before` is the listing of an earlier run."""
    if layout.container == "folder":
        return ImageFolderWriter(base, layout, before, names)
    return ImageShardWriter(base, layout, before)


def check_holds_no_pictures(base: Path) -> None:
    """Raises MegastyleError if a folder that is not an output yet holds pictures, which ours could
    replace."""
    for directory, folders, files in os.walk(base):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.lower().endswith(PICTURE_SUFFIXES):
                raise MegastyleError(
                    f"{base} holds {Path(directory, name).relative_to(base)}, which was not written"
                    " by megastyle",
                    hint="give -o another directory",
                )


def is_whole_picture(path: Path) -> bool:
    """Whether a picture of ours exists and ends as its format must; it is not decoded."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 12))
            end = file.read()
    except OSError:
        return False
    if head.startswith(b"RIFF"):
        return head[4:8] == struct.pack("<I", size - 8)
    return end.endswith(b"\xff\xd9" if head.startswith(b"\xff\xd8") else b"IEND\xaeB`\x82")


def _listed_shards(base: Path, listing: Path | None) -> list[Path]:
    """The shards in `base`. Raises MegastyleError if there is one that `listing` does not name."""
    shards = [path for path in sorted(base.glob("train-*")) if SHARD_NAME.fullmatch(path.name)]
    named = (
        {_shard_of(record) for record in complete_objects(listing)} if shards and listing else ()
    )
    for path in shards:
        if path.name not in named:
            raise MegastyleError(
                f"{base} holds {path.name}, which was not written by megastyle",
                hint="give -o another directory",
            )
    return shards


def _shard_of(record: Record) -> str:
    return str(record.get("file_name")).partition("#")[0]
