"""What a search needs of a million rows of a saved index, kept with it when rows are added.

Where the line of each row is, so that only the names of what was found are read; and the digests
over all rows, which identify the index. It is used only while the files are as they were by their
sizes and by a sample of their bytes; else, and for an index without it, all rows are read.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Record, bytes_id, canonical_json
from megastyle_cli.retrieval.artifact_cache import ArtifactCache
from megastyle_cli.retrieval.embed import Array, check_unit_rows

ARTIFACT = "lookup.bin"
PICTURE_ID = "picture_id"
SAMPLES, SAMPLE_BYTES = 32, 4096  # of each file


@dataclass(frozen=True)
class Rows:
    """The files of the rows that a header counts: `count` vectors of `width` numbers."""

    folder: Path
    generation: int
    vectors: Path
    records: Path
    count: int
    width: int
    records_bytes: int

    def read_vectors(self) -> Array:
        """The vectors (count, width) float32, memory-mapped."""
        return np.memmap(self.vectors, "<f4", mode="r", shape=(self.count, self.width))

    def sample(self) -> str:
        """A digest of the sizes and of bytes from all parts of the files."""
        digest = hashlib.sha256()
        for path, size in (
            (self.vectors, self.count * self.width * 4),
            (self.records, self.records_bytes),
        ):
            digest.update(f"{size}\n".encode())
            with path.open("rb") as file:
                for number in range(SAMPLES):
                    at = number * max(0, size - SAMPLE_BYTES) // (SAMPLES - 1)
                    digest.update(os.pread(file.fileno(), min(SAMPLE_BYTES, size - at), at))
                    if size <= SAMPLE_BYTES:
                        break
        return digest.hexdigest()


@dataclass(frozen=True)
class RowLookup:
    """Line i of the records is bytes `starts[i]` to `starts[i + 1]`; `hashes` are of the ids.

    `identity` is `identity_of` its rows, `digest` that of the ids and vectors.
    """

    path: Path
    records: Array  # (bytes,) uint8, memory-mapped
    starts: Array  # (n + 1,) int64
    hashes: Array  # (n,) uint32
    identity: str
    digest: str

    def record(self, row: int) -> Record:
        """The record of a row. Raises MegastyleError if its line is not one."""
        line = self.records[self.starts[row] : self.starts[row + 1]].tobytes()
        return parse_row(line, self.path, row + 1)

    def rows_of(self, record_id: str) -> list[int]:
        """The rows of an id."""
        rows = np.flatnonzero(self.hashes == _hash(record_id)).tolist()
        return [row for row in rows if self.record(row)["id"] == record_id]


class RowStrings(Sequence[str]):
    """The value under `key` of each record, read when it is asked for."""

    def __init__(self, lookup: RowLookup, key: str) -> None:
        self._lookup, self._key = lookup, key

    def __len__(self) -> int:
        return len(self._lookup.hashes)

    def __getitem__(self, row: Any) -> Any:
        return self._lookup.record(range(len(self))[row])[self._key]


def parse_row(line: bytes, path: Path, number: int) -> Record:
    """The record of a line. Raises MegastyleError if it is not one of an index."""
    try:
        record = json.loads(line)
        values = record["id"], record["file_name"], record.get(PICTURE_ID, "")
        if not all(isinstance(value, str) for value in values):
            raise TypeError
        return dict(record)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise MegastyleError(
            f"{path} line {number} is not a record of an index", hint="rebuild the index"
        ) from None


def identity_of(ids: Sequence[str], picture_ids: Sequence[str]) -> str:
    """8 hex digits over ids and, where they differ, the hashes of pictures, in order."""
    return digest_of_identities(
        own if own == picture else f"{own} {picture}"
        for own, picture in zip(ids, picture_ids, strict=True)
    )


def digest_of_identities(parts: Iterator[str]) -> str:
    """8 hex digits over texts, in order."""
    return bytes_id("\n".join(parts).encode("utf-8", "surrogatepass"))[:8]


def digest_of(ids: Sequence[str], vectors: Array) -> str:
    """8 hex digits over ids and vectors (n, d)."""
    digest = hashlib.sha256(canonical_json(list(ids)).encode())
    digest.update(np.ascontiguousarray(vectors).data)
    return digest.hexdigest()[:8]


def open_lookup(rows: Rows) -> RowLookup | None:
    """The lookup of these rows; None if there is none, or the files have changed since."""
    cached = ArtifactCache(rows.folder, rows.generation).open(ARTIFACT)
    if cached is None:
        return None
    metadata, file = cached
    with file:
        content = file.read()
    identity, digest = metadata.get("identity"), metadata.get("digest")
    is_whole = len(content) == 8 * (rows.count + 1) + 4 * rows.count
    if metadata.get("sample") != rows.sample() or not is_whole:
        return None
    if not (isinstance(identity, str) and isinstance(digest, str)):
        return None
    starts = np.frombuffer(content, "<i8", rows.count + 1)
    return RowLookup(
        path=rows.records,
        records=np.memmap(rows.records, np.uint8, mode="r", shape=(rows.records_bytes,)),
        starts=starts,
        hashes=np.frombuffer(content, "<u4", rows.count, offset=starts.nbytes),
        identity=identity,
        digest=digest,
    )


def keep_lookup(rows: Rows, ids: Sequence[str], picture_ids: Sequence[str]) -> None:
    """Writes the lookup of rows that were all read, if the folder can be written."""
    if not rows.count or not os.access(rows.folder, os.W_OK):
        return
    sample = rows.sample()  # before the rest: what changes in between must not count as read
    vectors = rows.read_vectors()
    try:
        check_unit_rows(vectors)
    except MegastyleError:
        return  # a search says so
    metadata = {
        "sample": sample,
        "identity": identity_of(ids, picture_ids),
        "digest": digest_of(ids, vectors),
    }
    starts = np.zeros(rows.count + 1, "<i8")
    starts[1:] = np.fromiter(_ends(rows), np.int64, rows.count)
    hashes = np.fromiter(map(_hash, ids), "<u4", rows.count)
    with (
        suppress(MegastyleError),  # another process writes it
        ArtifactCache(rows.folder, rows.generation).create(ARTIFACT, metadata) as file,
    ):
        file.write(starts.tobytes() + hashes.tobytes())


def _ends(rows: Rows) -> Iterator[int]:
    at = 0
    with rows.records.open("rb") as lines:
        for _, line in zip(range(rows.count), lines, strict=False):
            at += len(line)
            yield at


def _hash(record_id: str) -> int:
    return crc32(record_id.encode("utf-8", "surrogatepass"))
