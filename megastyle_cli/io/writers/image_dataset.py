"""Where the pictures of an image maker go: files in a folder, or WebDataset tars, or parquet files.

Shards hold a fixed number of records in output order and appear whole. Until a shard is full its
pictures lie beside it in a hidden folder, so a run that is killed loses none of them and goes on
to the same bytes.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from megastyle_cli.core.atomic_file import atomic_open, move_into_place
from megastyle_cli.core.choices import Container, PictureFormat
from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Record
from megastyle_cli.io.archive_member import picture_bytes
from megastyle_cli.io.relative_paths import hashed_name, safe_name

UNPACKED = ".unpacked"
SUFFIX = {"webdataset": ".tar", "parquet": ".parquet"}
QUALITY = 92
OUR_SHARD = re.compile(r"train-\d{5,}\.(tar|parquet)")  # as the releases name theirs


@dataclass(frozen=True, kw_only=True)
class ImageFormat:
    """How made pictures are kept: the container, the format in it, the records of a shard.

    `quality` is of JPEG and WebP, 1 to 100; None is QUALITY.
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
        """What of it decides the bytes of an output, as options of a run."""
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
    """What takes made pictures: `path` says where to save one, `placed` where a record finds it.

    Records are placed in output order. Once `is_full`, and their lines are safe in the listing,
    they are to be packed; `commit` follows when every line was written.
    """

    @property
    def is_full(self) -> bool: ...
    def open(self, *, resume: bool) -> None: ...
    def path(self, record_id: str, earlier: int, suffix: str) -> Path: ...
    def placed(self, record: Record) -> Record: ...
    def pack(self) -> None: ...
    def commit(self) -> None: ...


# A shard's records with their pictures' bytes, written to a file.
WriteShard = Callable[[BinaryIO, Iterable[tuple[Record, bytes]]], None]


class ImageFolderWriter:
    """Each picture a file, in one of 256 folders by a hash of the id."""

    is_full = False

    def __init__(self, base: Path) -> None:
        self.base = base

    def open(self, *, resume: bool) -> None: ...

    def path(self, record_id: str, earlier: int, suffix: str) -> Path:
        """Where the picture of this id belongs, of which there are `earlier` ones."""
        name = safe_name(record_id, earlier, signs="._-")
        return self.base / "images" / hashed_name(record_id)[:2] / f"{name}{suffix}"

    def placed(self, record: Record) -> Record:
        """The record as it is: its picture stays where it was saved."""
        return record

    def pack(self) -> None: ...

    def commit(self) -> None: ...


class ImageShardWriter:
    """BASE/train-00000.tar and so on, or .parquet, each of `num_per_shard` records, the last fewer.

    Line n of the listing is record n: its shard and its row follow from that, so what stands there
    after a kill says what is left to do. `before` is the listing that stands there, if one does.
    Raises MegastyleError if the folder holds shards that it does not name.
    """

    def __init__(
        self, base: Path, layout: ImageFormat, write: WriteShard, before: Path | None
    ) -> None:
        self.base, self.layout, self.write, self.before = base, layout, write, before
        self._ours = _check_own_shards(base, before)
        self.unpacked = base / UNPACKED
        self._waiting: list[Record] = []  # of the shard that is not full
        self._number = 0  # of that shard

    def open(self, *, resume: bool) -> None:
        """Goes on where the listing ends, or starts again, with the shards from before removed."""
        if resume:
            assert self.before is not None
            self._continue_from(self.before)
            return
        for path in self._ours:
            path.unlink()
        shutil.rmtree(self.unpacked, ignore_errors=True)

    def path(self, record_id: str, earlier: int, suffix: str) -> Path:
        """Where the picture of this id is kept until its shard is written."""
        # no dots: the key of a WebDataset sample ends at the first
        return self.unpacked / f"{safe_name(record_id, earlier, signs='_-')}{suffix}"

    def placed(self, record: Record) -> Record:
        """The record with its picture's place in the shard, relative to the folder."""
        name = Path(record["file_name"]).name
        row = len(self._waiting)
        move_into_place(self.unpacked / name, self._kept(row), durable=False)
        inner = name if self.layout.container == "webdataset" else str(row)
        placed = {**record, "file_name": f"{self._shard().name}#{inner}"}
        self._waiting.append(placed)
        return placed

    @property
    def is_full(self) -> bool:
        """Whether the shard has all its records."""
        return len(self._waiting) == self.layout.num_per_shard

    def pack(self) -> None:
        """Packs the shard, and begins the next."""
        self._pack()
        self._waiting = []
        self._number += 1

    def commit(self) -> None:
        """Packs what is left, and takes the hidden folder away."""
        if self._waiting:
            self._pack()
        shutil.rmtree(self.unpacked, ignore_errors=True)

    def _continue_from(self, listing: Path) -> None:
        for record in _listed(listing):
            if _shard_of(record) != self._shard().name:
                kind, count = self.layout.container, self.layout.num_per_shard
                raise MegastyleError(
                    f"{listing} names {record.get('file_name')}, which --format {kind} with"
                    f" --shard-size {count} does not write there",
                    hint="repeat the options, or --overwrite to start again",
                )
            self._waiting.append(record)
            if self.is_full:
                self.pack()

    def _pack(self) -> None:
        """Writes the shard, unless it stands and no picture is new."""
        shard = self._shard()
        kept = [self._kept(row) for row in range(len(self._waiting))]
        if shard.exists() and not any(path.exists() for path in kept):
            return
        with atomic_open(shard, durable=True) as file:
            self.write(file, self._rows(kept))
        for path in kept:
            path.unlink(missing_ok=True)

    def _rows(self, kept: list[Path]) -> Iterator[tuple[Record, bytes]]:
        """The records with their pictures; those packed before come from the shard as it stands."""
        for record, path in zip(self._waiting, kept, strict=True):
            try:
                content = (
                    path.read_bytes()
                    if path.exists()
                    else picture_bytes(str(self.base / record["file_name"]))
                )
            except BadRecord as bad:
                raise MegastyleError(
                    f"the picture of record {record['id']} is gone: {bad.message}",
                    hint="--overwrite starts again",
                ) from bad
            yield record, content

    def _shard(self) -> Path:
        return self.base / f"train-{self._number:05}{SUFFIX[self.layout.container]}"

    def _kept(self, row: int) -> Path:
        """Where the picture of a row is kept; the sign is in no name made from an id."""
        return self.unpacked / f"#{self._number * self.layout.num_per_shard + row}"


def image_writer_for(base: Path, layout: ImageFormat, before: Path | None) -> ImageWriter:
    """Where pictures of this layout go. Raises MegastyleError if a package is missing."""
    if layout.container == "folder":
        return ImageFolderWriter(base)
    if layout.container == "webdataset":
        from megastyle_cli.io.writers.webdataset import write_tar

        return ImageShardWriter(base, layout, write_tar, before)
    from megastyle_cli.io.writers.parquet import write_parquet

    return ImageShardWriter(base, layout, write_parquet, before)


def _check_own_shards(base: Path, listing: Path | None) -> list[Path]:
    """The shards in `base`, all of which `listing` names. Raises MegastyleError if it does not."""
    standing = sorted(base.glob("train-*"))
    ours = [path for path in standing if OUR_SHARD.fullmatch(path.name)]
    named = {_shard_of(record) for record in _listed(listing)} if ours and listing else set()
    for path in ours:
        if path.name not in named:
            raise MegastyleError(
                f"{base} holds {path.name}, which is of no output of ours",
                hint="give -o another directory",
            )
    return ours


def _listed(listing: Path) -> Iterator[Record]:
    """The records of the whole lines."""
    with listing.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n") and line.strip():
                yield json.loads(line)


def _shard_of(record: Record) -> str:
    return str(record.get("file_name")).partition("#")[0]
