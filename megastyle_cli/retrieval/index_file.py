"""Format of a saved index, and reading it: a folder of style vectors and image names.

  index.json           the encoder, the width of its vectors, and how many rows are complete
  vectors.f32          a row of little-endian float32 for each image, nothing else
  records.jsonl        a line for each image: its id and its file_name, relative to this folder, and
                       picture_id, the hash of the picture's bytes, if that is not its id
  index.json.partial   the same as index.json while rows are added
  lookup.bin           where the lines of records.jsonl are, and digests (`row_lookup`)

Rows are appended, synced to disk, and only then counted, so readers see the previous state and a
killed writer continues from its last count: whatever lies beyond it is cut off. When rows are
dropped, the others are copied to vectors.N.f32 and records.N.jsonl, N = `generation`, and the
header that names these takes the place of the one before.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any

from megastyle_cli.core.atomic_file import partial_path
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.io.record_names import from_folder
from megastyle_cli.retrieval.embed import Array
from megastyle_cli.retrieval.row_lookup import (
    PICTURE_ID,
    RowLookup,
    Rows,
    RowStrings,
    identity_of,
    keep_lookup,
    open_lookup,
    parse_row,
)

FORMAT = 1
NUMBERED_FORMAT = 2  # of an index that rows were dropped from: its files have numbers
HEADER, VECTORS, RECORDS, ERRORS = "index.json", "vectors.f32", "records.jsonl", "errors.jsonl"
FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class IndexHeader:
    """The contents of index.json: the encoder, its vector of the probe image, and complete sizes.

    `encoder_options` are the options that chose the encoder, `count` the number of complete rows
    and `records_bytes` the length of the complete part of records.jsonl.
    """

    encoder: str
    encoder_options: dict[str, str]
    width: int
    probe: list[float]
    count: int = 0
    records_bytes: int = 0
    format: int = FORMAT
    generation: int = 0

    def to_json(self) -> str:
        """The text of index.json."""
        options = "told"  # the name of encoder_options in format 1
        values = {options if k == "encoder_options" else k: v for k, v in vars(self).items()}
        if self.format == FORMAT:
            del values["generation"]
        return json.dumps(values, indent=1) + "\n"

    @property
    def vectors_name(self) -> str:
        """The name of the file of vectors."""
        return _numbered(VECTORS, self.generation)

    @property
    def records_name(self) -> str:
        """The name of the file of records."""
        return _numbered(RECORDS, self.generation)


@dataclass(frozen=True, kw_only=True)
class SavedIndex:
    """A saved index: `vectors` (n, d) float32 are memory-mapped, not read."""

    folder: Path
    header: IndexHeader
    vectors: Array
    ids: Sequence[str]
    file_names: Sequence[str]
    picture_ids: Sequence[str]  # none if there is a lookup
    lookup: RowLookup | None

    @property
    def identity(self) -> str:
        """8 hex digits over ids and hashes of pictures (`row_lookup.identity_of`)."""
        return self.lookup.identity if self.lookup else identity_of(self.ids, self.picture_ids)

    def keep_lookup(self) -> None:
        """Keeps what the next search needs of all rows, unless that was kept before."""
        if self.lookup is None:
            keep_lookup(rows_of(self.folder, self.header), self.ids, self.picture_ids)


@dataclass(frozen=True)
class IndexRows:
    """The rows of a saved index: ids, file names relative to its folder, hashes of pictures."""

    ids: list[str]
    names: list[str]
    picture_ids: list[str]

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        return zip(self.ids, self.names, self.picture_ids, strict=True)


class ResolvedPaths(Sequence[str]):
    """Paths relative to `folder`, resolved when one is read: few of a million ever are."""

    def __init__(self, paths: Sequence[str], folder: Path) -> None:
        self._paths, self._resolve = paths, from_folder(str(folder))

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: Any) -> Any:
        return self._resolve(self._paths[row])


def is_saved_index(name: str) -> bool:
    """Whether the folder of that name is a saved index, complete or not."""
    return any(Path(name, part).exists() for part in (HEADER, f"{HEADER}.partial", VECTORS))


def read_index(folder: Path) -> SavedIndex:
    """The index saved in `folder`. Raises MegastyleError if it is incomplete or damaged."""
    header = read_header(folder / HEADER)
    if header is None:
        if partial_path(folder / HEADER).exists():
            raise MegastyleError(
                f"{folder} is incomplete: it holds {HEADER}.partial",
                hint="run the same --add again to complete it",
            )
        raise MegastyleError(
            f"{folder} holds {VECTORS} but no {HEADER}",
            hint="copy the whole folder again, or rebuild the index",
        )
    if not header.count:
        raise MegastyleError(f"{folder} holds no images", hint="--add images that can be read")
    try:
        return _open_index(folder, header)
    except (MegastyleError, FileNotFoundError):
        if read_header(folder / HEADER) == header:
            raise
        return read_index(folder)  # meanwhile a writer replaced the files


def _open_index(folder: Path, header: IndexHeader) -> SavedIndex:
    check_sizes(folder, header)
    files = rows_of(folder, header)
    vectors, lookup = files.read_vectors(), open_lookup(files)
    ids: Sequence[str]
    names: Sequence[str]
    pictures: Sequence[str] = ()
    if lookup:
        ids, names = RowStrings(lookup, "id"), RowStrings(lookup, "file_name")
    else:
        rows = read_rows(folder, header)
        ids, names, pictures = rows.ids, rows.names, rows.picture_ids
    return SavedIndex(
        folder=folder,
        header=header,
        vectors=vectors,
        ids=ids,
        file_names=ResolvedPaths(names, folder),
        picture_ids=pictures,
        lookup=lookup,
    )


def rows_of(folder: Path, header: IndexHeader) -> Rows:
    """The files of the complete rows of an index."""
    return Rows(
        folder=folder,
        generation=header.generation,
        vectors=folder / header.vectors_name,
        records=folder / header.records_name,
        count=header.count,
        width=header.width,
        records_bytes=header.records_bytes,
    )


def read_header(path: Path) -> IndexHeader | None:
    """The header at `path`; None if the file does not exist. Raises MegastyleError if it is not a
    header of a format that is read here."""
    no_index = MegastyleError(f"{path} is not the header of an index", hint="rebuild the index")
    try:
        values = json.loads(path.read_text())
        header = IndexHeader(encoder_options=values.pop("told"), **values)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise no_index from None
    if header.format not in (FORMAT, NUMBERED_FORMAT):
        raise MegastyleError(
            f"{path} has format {header.format}, but this version reads format {NUMBERED_FORMAT}",
            hint="rebuild the index",
        )
    if not _is_possible(header):
        raise no_index
    return header


def check_sizes(folder: Path, header: IndexHeader) -> None:
    """Raises MegastyleError if the files are shorter than the header counts."""
    row_bytes = header.width * FLOAT_BYTES
    parts = (
        (header.vectors_name, header.count * row_bytes),
        (header.records_name, header.records_bytes),
    )
    for name, wanted in parts:
        path = folder / name
        size = path.stat().st_size if path.exists() else 0
        if size < wanted:
            raise MegastyleError(
                f"{path} has {size:,} bytes, but {header.count:,} images need {wanted:,}",
                hint="copy the index again, or rebuild it",
            )


def read_rows(folder: Path, header: IndexHeader) -> IndexRows:
    """The complete rows. Raises MegastyleError if a line is not a record."""
    path = folder / header.records_name
    rows = IndexRows([], [], [])
    with path.open("rb") as lines:
        for number, line in enumerate(islice(lines, header.count), start=1):
            record = parse_row(line, path, number)
            row = [record["id"], record["file_name"], record.get(PICTURE_ID, record["id"])]
            for values, value in zip((rows.ids, rows.names, rows.picture_ids), row, strict=True):
                values.append(value)
    if len(rows.ids) != header.count:
        raise MegastyleError(
            f"{path} holds {len(rows.ids):,} records for {header.count:,} vectors",
            hint="rebuild the index",
        )
    return rows


def _is_possible(header: IndexHeader) -> bool:
    """Whether the values have their types and ranges: the file may have been edited."""
    counts = (header.width, header.count, header.records_bytes, header.generation)
    return (
        all(type(count) is int and count >= 0 for count in counts)
        and isinstance(header.encoder, str)
        and isinstance(header.encoder_options, dict)
        and isinstance(header.probe, list)
        and all(type(x) in (int, float) and isfinite(x) for x in header.probe)
        and len(header.probe) == header.width > 0
    )


def _numbered(name: str, generation: int) -> str:
    """vectors.f32 of generation 2 is vectors.2.f32; of generation 0 it has no number."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}.{generation}{dot}{suffix}" if generation else name
