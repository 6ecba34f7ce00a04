"""Format of a saved index, and reading it: a folder of style vectors and image names.

  index.json           the encoder, the width of its vectors, and how many rows are complete
  vectors.f32          a row of little-endian float32 for each image, nothing else
  records.jsonl        a line for each image: its id and its file_name, relative to this folder
  index.json.partial   the same as index.json while rows are added

Rows are appended, synced to disk, and only then counted, so readers see the previous state and a
killed writer continues from its last count: whatever lies beyond it is cut off.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from megastyle_cli.core.atomic_file import partial_path
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.io.relative_paths import from_folder
from megastyle_cli.retrieve.embed import Array

FORMAT = 1
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

    def to_json(self) -> str:
        """The text of index.json."""
        options = "told"  # the name of encoder_options in format 1
        values = {options if k == "encoder_options" else k: v for k, v in vars(self).items()}
        return json.dumps(values, indent=1) + "\n"


@dataclass(frozen=True, kw_only=True)
class SavedIndex:
    """A saved index: `vectors` (n, d) float32 are memory-mapped, not read."""

    folder: Path
    header: IndexHeader
    vectors: Array
    ids: list[str]
    file_names: Sequence[str]


class ResolvedPaths(Sequence[str]):
    """Paths relative to `folder`, resolved when one is read: few of a million ever are."""

    def __init__(self, paths: list[str], folder: Path) -> None:
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
                f"{folder} is not complete: it holds {HEADER}.partial",
                hint="finish it with the same --add",
            )
        raise MegastyleError(
            f"{folder} holds {VECTORS} and no {HEADER}", hint="copy it whole, or build it again"
        )
    if not header.count:
        raise MegastyleError(f"{folder} holds no picture", hint="--add pictures that can be read")
    check_sizes(folder, header)
    ids, names = read_rows(folder, header)
    shape = (header.count, header.width)
    return SavedIndex(
        folder=folder,
        header=header,
        vectors=np.memmap(folder / VECTORS, "<f4", mode="r", shape=shape),
        ids=ids,
        file_names=ResolvedPaths(names, folder),
    )


def read_header(path: Path) -> IndexHeader | None:
    """The header at `path`; None if the file does not exist. Raises MegastyleError if it is not a
    header of this format."""
    try:
        values = json.loads(path.read_text())
        header = IndexHeader(encoder_options=values.pop("told"), **values)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError):
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


def check_sizes(folder: Path, header: IndexHeader) -> None:
    """Raises MegastyleError if the files are shorter than the header counts."""
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


def read_rows(folder: Path, header: IndexHeader) -> tuple[list[str], list[str]]:
    """The ids and the file names, relative to the folder, of the complete rows."""
    path = folder / RECORDS
    ids, names = [], []
    with path.open("rb") as lines:
        for number, line in enumerate(islice(lines, header.count), start=1):
            try:
                record = json.loads(line)
                record_id, name = record["id"], record["file_name"]
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
