"""The styles or contents of a run: records in a temporary file, each under an id of its own."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.core.record import Failure, Record, batched
from megastyle_cli.io.raw_jsonl.object_batches import read_objects
from megastyle_cli.io.temporary_files import Spool
from megastyle_cli.pair.halves import CONTENT_KEYS, check_content
from megastyle_cli.pair.ids import distinct_ids


class Parents(Sequence[Record]):
    """The records of `spool`, whose ids are `ids`, without repetitions and under their own ids."""

    def __init__(self, spool: Spool, ids: Sequence[str]) -> None:
        self._spool, self._own = spool, distinct_ids(ids, spool.read)

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


def read_contents(inputs: Sequence[str], spool: Spool) -> tuple[Parents, list[Failure]]:
    """The records of contents, which go to `spool`, and those that cannot be used."""
    ids, failures = list[str](), list[Failure]()
    for batch in read_objects(inputs, CONTENT_KEYS, check_content):
        failures += batch.failures
        ids += batch.ids
        for lines in batch.lines:
            spool.extend(lines)
    return Parents(spool, ids), failures


def fingerprint(ids_and_texts: Iterable[tuple[str, str]]) -> str:
    """8 hex digits over the ids and texts of contents, in order: which contents a run used."""
    digest = hashlib.sha256()
    for some in batched(ids_and_texts, 1024):
        together = "".join([f"{own}\0{text}\n" for own, text in some])
        digest.update(together.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:8]
