"""The styles or contents of a run: records in a temporary file, each under an id of its own."""

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.core.record import Failure, Record, batched
from megastyle_cli.io.raw_jsonl.object_batches import read_objects
from megastyle_cli.io.temporary_files import Spool
from megastyle_cli.pair.halves import CONTENT_KEYS, check_content
from megastyle_cli.pair.ids import OwnIds, distinct_ids
from megastyle_cli.pair.pieces import CONTENT, Pieces, Rename

_TOGETHER = 2048  # contents cut at a time


class Parents(Sequence[Record]):
    """The records of `spool`, without repetitions and under their own ids.

    `ids` are those that they came with; None if these are known to differ.
    """

    def __init__(self, spool: Spool, ids: Sequence[str] | None) -> None:
        self._spool = spool
        self._own = OwnIds(range(len(spool))) if ids is None else distinct_ids(ids, spool.read)

    def __len__(self) -> int:
        return len(self._own.kept)

    @overload
    def __getitem__(self, row: int) -> Record: ...

    @overload
    def __getitem__(self, row: slice) -> list[Record]: ...

    def __getitem__(self, row: int | slice) -> Record | list[Record]:
        if isinstance(row, slice):
            return [self[each] for each in range(len(self))[row]]
        (record,) = self._spool.read([self._own.kept[row]])
        return self._named(self._own.kept[row], record)

    def __iter__(self) -> Iterator[Record]:
        return map(self._named, self._own.kept, self._spool.read(self._own.kept))

    def _named(self, row: int, record: Record) -> Record:
        own = self._own.renamed.get(row)
        return record if own is None else {**record, "id": own}

    def own_ids(self, ids: Sequence[str]) -> list[str]:
        """The own ids of all records; `ids` are those that they came with."""
        return [self._own.renamed.get(row, ids[row]) for row in self._own.kept]

    def batches(self, size: int) -> Iterator[tuple[StringArray, dict[int, str]]]:
        """The lines of `size` records at a time, and the own ids of some lines, by line."""
        renamed = self._own.renamed
        for rows in batched(self._own.kept, size):
            first = rows[0]
            lines = self._spool.lines(first, rows[-1] + 1)
            if len(lines) > len(rows):
                lines = lines.take(np.array(rows) - first)
            yield lines, {i: renamed[row] for i, row in enumerate(rows) if row in renamed}


def read_contents(
    inputs: Sequence[str], spool: Spool, rename: Rename | None
) -> tuple[Parents, Pieces, list[Failure]]:
    """The records of contents, which go to `spool`, their halves, and those that cannot be used.

    `rename` is applied to the picture names of the halves.
    """
    # hashes instead of ids, which would take more memory than all else that is held with the halves
    hashes, failures, halves = array("q"), list[Failure](), Pieces(CONTENT)
    for batch in read_objects(inputs, CONTENT_KEYS, check_content):
        failures += batch.failures
        hashes.extend(map(hash, batch.ids))
        for lines in batch.lines:
            spool.extend(lines)
            if batch.plain is None and len(lines):
                halves.extend(lines, {}, rename)
        if batch.plain is not None:
            halves.extend_plain(batch.plain, {}, rename)
    if len(np.unique(np.frombuffer(hashes, np.int64))) == len(hashes):
        return Parents(spool, None), halves, failures
    contents = Parents(spool, [record["id"] for record in spool.read()])
    return contents, cut_contents(contents, rename), failures


def cut_contents(contents: Parents, rename: Rename | None) -> Pieces:
    """The halves of all contents, with `rename` applied to their picture names."""
    pieces = Pieces(CONTENT)
    for lines, own in contents.batches(_TOGETHER):
        pieces.extend(lines, own, rename)
    return pieces


def fingerprint(identities: Iterable[bytes]) -> str:
    """8 hex digits over the identities of contents, in order: which contents a run used."""
    digest = hashlib.sha256()
    for some in identities:
        digest.update(some)
    return digest.hexdigest()[:8]
