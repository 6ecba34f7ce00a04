"""A saved index: a folder of style vectors and whose they are, that grows row by row.

  index.json           who made the vectors, how wide they are, how many are whole
  vectors.f32          a row of little-endian float32 for each picture, nothing else
  records.jsonl        a line for each picture: its id and its file_name, from this folder
  index.json.partial   the same as index.json while the index grows

Rows are appended, made safe on disk, and only then counted, so a reader sees what was whole before
and a killed writer goes on from its last count: what lies beyond it is cut off.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from megastyle_cli.core.atomic_file import (
    atomic_write,
    ensure_writable,
    flush_to_disk,
    move_into_place,
    open_locked,
    partial_path,
    with_path,
)
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Record
from megastyle_cli.io.output_paths import OutputPaths
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.relative_paths import from_folder, to_folder

if TYPE_CHECKING:
    from PIL.Image import Image

Array = np.ndarray[Any, np.dtype[Any]]

FORMAT = 1
HEADER, VECTORS, RECORDS, ERRORS = "index.json", "vectors.f32", "records.jsonl", "errors.jsonl"
FLOAT_BYTES = 4
COMMIT_ROWS = 4096
COMMIT_S = 10.0
PROBE_PX = 96


@dataclass(frozen=True, kw_only=True)
class Header:
    """What index.json says: the encoder, its vector of `probe_picture`, and how much is whole.

    `told` is how the encoder was asked for, `count` the rows and `records_bytes` the length of
    records.jsonl that are whole.
    """

    encoder: str
    told: dict[str, str]
    width: int
    probe: list[float]
    count: int = 0
    records_bytes: int = 0
    format: int = FORMAT


@dataclass(frozen=True, kw_only=True)
class SavedIndex:
    """An index to search: `vectors` (n, d) float32 are mapped from the disk, not read."""

    folder: Path
    header: Header
    vectors: Array
    ids: list[str]
    file_names: Sequence[str]


class Names(Sequence[str]):
    """Names as a file holds them, seen through `rename`: of a million, few are ever asked for."""

    def __init__(self, names: list[str], rename: Callable[[str], str]) -> None:
        self._names, self._rename = names, rename

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, row: Any) -> Any:
        return self._rename(self._names[row])


def is_saved_index(name: str) -> bool:
    """Whether the folder of that name is a saved index, whole or not."""
    return any(Path(name, part).exists() for part in (HEADER, f"{HEADER}.partial", VECTORS))


def open_index(folder: Path) -> SavedIndex:
    """The index saved in `folder`. Raises MegastyleError if it is not whole."""
    header = read_header(folder / HEADER)
    if header is None:
        if partial_path(folder / HEADER).exists():
            raise MegastyleError(
                f"{folder} is not complete: it holds {HEADER}.partial",
                hint="finish it with the same --add",
            )
        raise MegastyleError(
            f"{folder} holds {VECTORS} and no {HEADER}", hint="copy it whole, or build it again"
        )
    if not header.count:
        raise MegastyleError(f"{folder} holds no picture", hint="--add pictures that can be read")
    _refuse_short(folder, header)
    ids, names = _read_names(folder / RECORDS, header)
    shape = (header.count, header.width)
    return SavedIndex(
        folder=folder,
        header=header,
        vectors=np.memmap(folder / VECTORS, "<f4", mode="r", shape=shape),
        ids=ids,
        file_names=Names(names, from_folder(str(folder))),
    )


def read_header(path: Path) -> Header | None:
    """What `path` says, None if it is not there. Raises MegastyleError if it is no header."""
    try:
        told = json.loads(path.read_text())
        header = Header(**told)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise MegastyleError(f"{path} is no index of ours", hint="build the index again") from None
    if header.format != FORMAT:
        raise MegastyleError(
            f"{path} has format {header.format}, and this version reads {FORMAT}",
            hint="build the index again",
        )
    numbers = (header.width, header.count, header.records_bytes)
    if not all(isinstance(number, int) and number >= 0 for number in numbers) or not header.width:
        raise MegastyleError(f"{path} is no index of ours", hint="build the index again")
    return header


def probe_picture() -> "Image":
    """A fixed picture of slopes, stripes and discs: encoders that see it alike are the same."""
    from PIL import Image

    y, x = np.mgrid[:PROBE_PX, :PROBE_PX]
    stripes = (x + 2 * y) // 8 % 2 * 255
    discs = ((x % 32 - 16) ** 2 + (y % 32 - 16) ** 2 < 81) * 255
    slope = (x * 255) // (PROBE_PX - 1)
    return Image.fromarray(np.stack([slope, stripes, discs], axis=2).astype(np.uint8))


def index_places(folder: Path, errors: str | None) -> OutputPaths:
    """Where the parts of an index are, as the sink wants to know them."""
    return OutputPaths(
        final=folder / RECORDS,
        errors=Path(errors) if errors else folder / ERRORS,
        run=None,
        base=folder,
    )


def entry(record: Record) -> bytes:
    """What `GrowingIndex.write` takes: the record's `vector` (d,) float32, then its line."""
    row: bytes = record["vector"].astype("<f4").tobytes()
    return row + dump_line({"id": record["id"], "file_name": record["file_name"]})


def row_key(folder: Path) -> Callable[[Record], str]:
    """What tells a row of the index in `folder` from others: content and place of its picture."""
    called = to_folder(folder)
    return lambda record: _row_key(record["id"], called(str(record.get("file_name"))))


def _row_key(record_id: str, name: str) -> str:
    return f"{record_id} {name}"


@dataclass
class GrowingIndex:
    """The output that adds to the index in `folder`; `done` counts the keys (`row_key`) there.

    Before the first `write`, `made_by` says whose vectors come. A run that is stopped or killed
    leaves `index.json` as it was and its own count in `index.json.partial`.
    """

    folder: Path
    done: Counter[str] = field(default_factory=Counter)
    header: Header | None = None
    _files: tuple[BinaryIO, BinaryIO] | None = None
    _saved_rows: int = 0
    _saved_s: float = 0.0

    def open(self) -> None:
        """Goes on with what stands there. Raises MegastyleError if the folder is something else."""
        ensure_writable(self.folder)
        self._refuse_other_folder()
        vectors = open_locked(self.folder / VECTORS)
        self._files = vectors, (self.folder / RECORDS).open("a+b")
        try:
            self._go_on(*self._files)
        except BaseException:
            self.close()
            raise

    def made_by(self, encoder: str, told: dict[str, str], probe: Array) -> None:
        """The vectors to come are of `encoder`, whose vector of the probe picture is `probe`."""
        if self.header is None:
            self.header = Header(
                encoder=encoder, told=told, width=len(probe), probe=[float(x) for x in probe]
            )
            self._save()

    def write(self, line: bytes) -> None:
        """Adds an `entry`."""
        assert self._files is not None and self.header is not None
        row_bytes = self.header.width * FLOAT_BYTES
        vectors, records = self._files
        with with_path(self.folder):
            vectors.write(line[:row_bytes])
            records.write(line[row_bytes:])
        self.header = replace(
            self.header,
            count=self.header.count + 1,
            records_bytes=self.header.records_bytes + len(line) - row_bytes,
        )

    def flush(self) -> None:
        """Counts what was written, if enough of it has come together."""
        if self.header is None:
            return
        is_late = time.monotonic() - self._saved_s > COMMIT_S
        if self.header.count - self._saved_rows >= COMMIT_ROWS or is_late:
            self._save()

    def commit(self) -> None:
        """All was tried: readers see it from now on."""
        if self.header is not None:
            self._save()
            header = self.folder / HEADER
            move_into_place(partial_path(header), header, durable=False)

    def close(self) -> None:
        """Without a commit before: counts what is whole, for the next run to go on from."""
        if self._files is None:
            return
        with suppress(OSError):  # of a full disk: what is not counted is done again
            if self.header is not None and self.header.count > self._saved_rows:
                self._save()
        for file in self._files:
            with suppress(OSError):
                file.close()

    def _go_on(self, vectors: BinaryIO, records: BinaryIO) -> None:
        header = self._standing()
        if header is None:
            return
        _refuse_short(self.folder, header)
        self.done = Counter(map(_row_key, *_read_names(self.folder / RECORDS, header)))
        vectors.truncate(header.count * header.width * FLOAT_BYTES)
        records.truncate(header.records_bytes)
        self.header = header
        self._saved_rows, self._saved_s = header.count, time.monotonic()

    def _standing(self) -> Header | None:
        final = self.folder / HEADER
        return read_header(partial_path(final)) or read_header(final)

    def _save(self) -> None:
        assert self._files is not None and self.header is not None
        for grown in self._files:
            with with_path(self.folder):
                flush_to_disk(grown)
        text = json.dumps(asdict(self.header), indent=1) + "\n"
        atomic_write(partial_path(self.folder / HEADER), text, durable=True)
        self._saved_rows, self._saved_s = self.header.count, time.monotonic()

    def _refuse_other_folder(self) -> None:
        if self._standing() is not None:
            return
        vectors = self.folder / VECTORS
        if vectors.exists() and vectors.stat().st_size:
            raise MegastyleError(
                f"{self.folder} holds {VECTORS} and no {HEADER}",
                hint="copy it whole, or build it again under another name",
            )
        ours = {VECTORS, RECORDS, ERRORS, f"{ERRORS}.partial"}
        others = sorted(path.name for path in self.folder.iterdir() if path.name not in ours)
        if others:
            raise MegastyleError(
                f"{self.folder} is no index: it holds {others[0]}",
                hint="give --index a new folder for --add to make",
            )


def _refuse_short(folder: Path, header: Header) -> None:
    """Raises MegastyleError if less is there than the header counts."""
    row_bytes = header.width * FLOAT_BYTES
    parts = ((VECTORS, header.count * row_bytes), (RECORDS, header.records_bytes))
    for name, wanted in parts:
        path = folder / name
        size = path.stat().st_size if path.exists() else 0
        if size < wanted:
            raise MegastyleError(
                f"{path} has {size:,} bytes, and {header.count:,} pictures need {wanted:,}",
                hint="copy the index again, or build it again",
            )


def _read_names(path: Path, header: Header) -> tuple[list[str], list[str]]:
    """The ids and the file names of the rows that are whole."""
    ids, names = [], []
    with path.open("rb") as lines:
        for number, line in enumerate(islice(lines, header.count), start=1):
            try:
                told = json.loads(line)
                record_id, name = told["id"], told["file_name"]
            except (ValueError, TypeError, KeyError):
                record_id = name = None
            if not (isinstance(record_id, str) and isinstance(name, str)):
                raise MegastyleError(
                    f"{path} line {number} is no record of an index", hint="build the index again"
                )
            ids.append(record_id)
            names.append(name)
    if len(ids) != header.count:
        raise MegastyleError(
            f"{path} holds {len(ids):,} records for {header.count:,} vectors",
            hint="build the index again",
        )
    return ids, names
