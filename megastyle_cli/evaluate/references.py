"""Which reference pictures a record is scored against: its own one, or the same many for all.

d width of a model's vectors, m reference pictures.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Record, canonical_json
from megastyle_cli.evaluate.calibration import Bank
from megastyle_cli.evaluate.features import Looks, Remembered, Sights, look
from megastyle_cli.retrieve.nearest import BATCH, Array, batched

STEM = "stem"


@dataclass(frozen=True, kw_only=True)
class Matched:
    """The references of one record: their key, how many, and by model the sum (d,) of vectors."""

    key: str
    count: int
    sums: Looks

    def cosines(self, role: str, vector: Array) -> tuple[float, float]:
        """The mean cosine of a unit `vector` (d,) with the references, and that with their mean.

        The mean of cosines is that of one reference on average, however many there are; the cosine
        with the mean picture (prototype) grows with their number, as what they do not share fades.
        """
        dot = float((vector.astype(np.float64) * self.sums[role]).sum())
        length = float(np.sqrt((self.sums[role] ** 2).sum()))
        return dot / self.count, dot / max(length, 1e-12)


class References(Protocol):
    """What finds the references of records: None for a record that has none, BadRecord for one
    whose references cannot be had."""

    @property
    def facts(self) -> Record: ...

    def of(self, records: Sequence[Record]) -> list[Matched | BadRecord | None]: ...

    def bank(self, role: str, keys: Sequence[str], styles: Sequence[str]) -> tuple[Bank, list[str]]:
        """All references of pictures with these keys and styles, by the model of that role, and
        which style of theirs each picture is of."""
        ...


class OwnReferences:
    """Each record against the picture that its `style_file_name` names."""

    facts: Record = {}

    def __init__(self, sights: Sights, most: int | None = None) -> None:
        self.remembered = Remembered(sights, most)

    def of(self, records: Sequence[Record]) -> list[Matched | BadRecord | None]:
        """The one reference of each record, in order; its key is the picture's name."""
        names = [record.get("style_file_name") for record in records]
        told = [name for name in names if isinstance(name, str)]
        looks = dict(zip(told, self.remembered.of(told), strict=True))
        return [_single(name, looks[name]) if isinstance(name, str) else None for name in names]

    def bank(self, role: str, keys: Sequence[str], styles: Sequence[str]) -> tuple[Bank, list[str]]:
        """Each reference once for every style it stands for."""
        distinct = list(dict.fromkeys(zip(keys, styles, strict=True)))
        looks = self.remembered.of([key for key, _ in distinct])
        rows = [seen[role] for seen in looks if not isinstance(seen, BadRecord)]
        named, of_styles = zip(*distinct, strict=True)
        return Bank(vectors=np.stack(rows), keys=named, styles=of_styles), list(styles)


class GivenReferences:
    """Every record against the same pictures, or against those that share its value of `pair_by`.

    A record is never its own reference: rows of its id are left out. `facts` is what a scored
    record notes of them.
    """

    def __init__(
        self,
        records: Sequence[Record],
        looks: Sequence[Looks],
        pair_by: str | None,
        others: Sequence[Looks] = (),
    ) -> None:
        self.pair_by, self.others = pair_by, others
        self.ids = [record["id"] for record in records]
        self.facts: Record = {
            "references": len(records),
            "reference_set": reference_set(records, pair_by),
        }
        self.keys = [_key(record, pair_by) or "" for record in records]
        self.looks = looks
        self._rows: dict[str, list[int]] = {}
        for row, key in enumerate(self.keys):
            self._rows.setdefault(key, []).append(row)
        self._whole = {key: self._matched(key, rows) for key, rows in self._rows.items()}

    def of(self, records: Sequence[Record]) -> list[Matched | BadRecord | None]:
        """The references of each record, in order."""
        return [self._of(record) for record in records]

    def bank(self, role: str, keys: Sequence[str], styles: Sequence[str]) -> tuple[Bank, list[str]]:
        """All of them, whoever is scored, and the `others`; a style is what they are paired by."""
        rows = np.stack([seen[role] for seen in (*self.looks, *self.others)])
        named = [*self.keys, *[None] * len(self.others)]
        return Bank(vectors=rows, keys=named, styles=named), list(keys)

    def _of(self, record: Record) -> Matched | BadRecord:
        key = _key(record, self.pair_by)
        if key is None or key not in self._rows:
            told = f"no {self.pair_by}" if key is None else f"{self.pair_by} {key!r}"
            words = f"record {record['id']} has {told}, and no reference has that"
            return BadRecord("missing_key", words)
        others = [row for row in self._rows[key] if self.ids[row] != record["id"]]
        if not others:
            return BadRecord("missing_key", f"record {record['id']} is its own only reference")
        is_whole = len(others) == len(self._rows[key])
        return self._whole[key] if is_whole else self._matched(key, others)

    def _matched(self, key: str, rows: Sequence[int]) -> Matched:
        roles = self.looks[rows[0]].keys()
        sums = {
            role: np.stack([self.looks[row][role] for row in rows]).sum(axis=0, dtype=np.float64)
            for role in roles
        }
        return Matched(key=key, count=len(rows), sums=sums)


def given_references(
    records: Sequence[Record],
    sights: Sights,
    *,
    pair_by: str | None = None,
    others: Sequence[Record] = (),
) -> GivenReferences:
    """The pictures of `records` as references, looked at. `pair_by` is "stem", of the picture's
    name, or a key of records; None puts all together. `others` are strangers to every picture.

    Raises MegastyleError if one cannot be read: with one reference less all scores would change.
    """
    lacking = [record for record in records if _key(record, pair_by) is None]
    if lacking:
        raise MegastyleError(
            f"reference {lacking[0].get('file_name', lacking[0]['id'])} has no {pair_by}",
            hint="--pair-by names a key that pictures and references have, or stem",
        )
    looks = _looked_at(records, sights)
    return GivenReferences(records, looks, pair_by, _looked_at(others, sights))


def reference_set(records: Sequence[Record], pair_by: str | None) -> str:
    """8 hex digits over which pictures the references are and what they are paired by."""
    told = sorted([record["id"], _key(record, pair_by) or ""] for record in records)
    return hashlib.sha256(canonical_json([told, pair_by]).encode()).hexdigest()[:8]


def _looked_at(records: Sequence[Record], sights: Sights) -> list[Looks]:
    looks: list[Looks] = []
    for batch in batched(records, BATCH):
        for seen in look([str(record.get("file_name")) for record in batch], sights):
            if isinstance(seen, BadRecord):
                raise MegastyleError(f"reference: {seen.message}", hint="mend it or leave it out")
            looks.append(seen)
    return looks


def _single(name: str, looks: Looks | BadRecord) -> Matched | BadRecord:
    if isinstance(looks, BadRecord):
        return looks
    sums = {role: vector.astype(np.float64) for role, vector in looks.items()}
    return Matched(key=name, count=1, sums=sums)


def _key(record: Record, pair_by: str | None) -> str | None:
    """What pairs a record with references: "" if nothing does, None if it lacks the key."""
    if pair_by is None:
        return ""
    if pair_by != STEM:
        return None if record.get(pair_by) is None else str(record[pair_by])
    name = str(record.get("file_name")).rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[0]
