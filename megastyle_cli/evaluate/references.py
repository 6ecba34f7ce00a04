"""The reference images a record is scored against: its own one, or a set shared by all records."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Record, batched, canonical_json
from megastyle_cli.evaluate.calibration import ReferenceBank
from megastyle_cli.evaluate.features import (
    FeatureCache,
    FeatureExtractors,
    Features,
    extract_features,
)
from megastyle_cli.retrieval.embed import Array

# d width of a model's vectors
STEM = "stem"


@dataclass(frozen=True, kw_only=True)
class ReferenceMatch:
    """The references of one record: their key, their number, and by role the sum (d,) of their
    unit vectors, float64."""

    key: str
    count: int
    sums: Features

    def cosines(self, role: str, vector: Array) -> tuple[float, float]:
        """The mean cosine of a unit `vector` (d,) with the references, and its cosine with their
        mean (the prototype).

        The mean cosine does not depend on how many references there are; the cosine with the
        prototype grows with their number, because what they do not share averages out.
        """
        dot = float((vector.astype(np.float64) * self.sums[role]).sum())
        length = float(np.sqrt((self.sums[role] ** 2).sum()))
        return dot / self.count, dot / max(length, 1e-12)


class References(Protocol):
    """Finds the references of records."""

    @property
    def provenance(self) -> Record:
        """What a scored record notes about the references."""
        ...

    def match(self, records: Sequence[Record]) -> list[ReferenceMatch | BadRecord | None]:
        """The references of each record, in order: None if it has none, BadRecord if they cannot
        be used."""
        ...

    def bank(
        self, role: str, keys: Sequence[str], styles: Sequence[str]
    ) -> tuple[ReferenceBank, list[str]]:
        """All references of images with these keys and styles, by the model of that role, and the
        style of each image as the bank names it."""
        ...


class OwnReferences:
    """Compares each record with the image that its `style_file_name` names."""

    provenance: Record = {}

    def __init__(self, extractors: FeatureExtractors, cache_size: int | None = None) -> None:
        self._cache = FeatureCache(extractors, cache_size)

    def match(self, records: Sequence[Record]) -> list[ReferenceMatch | BadRecord | None]:
        """The one reference of each record; its key is the name of the image."""
        names = [record.get("style_file_name") for record in records]
        found = [name for name in names if isinstance(name, str)]
        features = dict(zip(found, self._cache.get(found), strict=True))
        return [
            _single_match(name, features[name]) if isinstance(name, str) else None for name in names
        ]

    def bank(
        self, role: str, keys: Sequence[str], styles: Sequence[str]
    ) -> tuple[ReferenceBank, list[str]]:
        """Each reference once per style it is the reference of."""
        distinct = list(dict.fromkeys(zip(keys, styles, strict=True)))
        cached = self._cache.get([key for key, _ in distinct])
        rows = [features[role] for features in cached if not isinstance(features, BadRecord)]
        bank_keys, bank_styles = zip(*distinct, strict=True)
        bank = ReferenceBank(vectors=np.stack(rows), keys=bank_keys, styles=bank_styles)
        return bank, list(styles)


class GivenReferences:
    """Compares every record with the same images, or with those that share its value of `pair_by`.

    A record is never its own reference: references with its id are left out.
    """

    def __init__(
        self,
        records: Sequence[Record],
        features: Sequence[Features],
        pair_by: str | None,
        others: Sequence[Features] = (),
    ) -> None:
        self.provenance: Record = {
            "references": len(records),
            "reference_set": reference_fingerprint(records, pair_by),
        }
        self._pair_by, self._features, self._others = pair_by, features, others
        self._ids = [record["id"] for record in records]
        self._keys = [pairing_key(record, pair_by) or "" for record in records]
        self._rows: dict[str, list[int]] = {}
        for row, key in enumerate(self._keys):
            self._rows.setdefault(key, []).append(row)
        self._complete = {key: self._match_rows(key, rows) for key, rows in self._rows.items()}

    def match(self, records: Sequence[Record]) -> list[ReferenceMatch | BadRecord | None]:
        """The references of each record, in order; never None."""
        return [self._match(record) for record in records]

    def bank(
        self, role: str, keys: Sequence[str], styles: Sequence[str]
    ) -> tuple[ReferenceBank, list[str]]:
        """All references and `others`; the style of a row is its pairing key."""
        vectors = np.stack([features[role] for features in (*self._features, *self._others)])
        bank_keys = [*self._keys, *[None] * len(self._others)]
        return ReferenceBank(vectors=vectors, keys=bank_keys, styles=bank_keys), list(keys)

    def _match(self, record: Record) -> ReferenceMatch | BadRecord:
        key = pairing_key(record, self._pair_by)
        if key is None or key not in self._rows:
            value = f"no {self._pair_by}" if key is None else f"{self._pair_by} {key!r}"
            message = f"record {record['id']} has {value}, which no reference has"
            return BadRecord("missing_key", message)
        rows = [row for row in self._rows[key] if self._ids[row] != record["id"]]
        if not rows:
            return BadRecord("missing_key", f"record {record['id']} has no reference but itself")
        is_complete = len(rows) == len(self._rows[key])
        return self._complete[key] if is_complete else self._match_rows(key, rows)

    def _match_rows(self, key: str, rows: Sequence[int]) -> ReferenceMatch:
        sums = {
            role: np.stack([self._features[row][role] for row in rows]).sum(
                axis=0, dtype=np.float64
            )
            for role in self._features[rows[0]]
        }
        return ReferenceMatch(key=key, count=len(rows), sums=sums)


def load_references(
    records: Sequence[Record],
    extractors: FeatureExtractors,
    *,
    pair_by: str | None = None,
    others: Sequence[Record] = (),
) -> GivenReferences:
    """The images of `records` as references of all, with their features.

    `pair_by` is "stem" (the file name without its ending) or a key of records; with None all
    references belong together. `others` are images of other styles than any scored image.
    Raises MegastyleError if an image cannot be read (a missing reference would change every score)
    or a reference lacks the `pair_by` key.
    """
    for record in records:
        if pairing_key(record, pair_by) is None:
            raise MegastyleError(
                f"reference {record.get('file_name', record['id'])} has no {pair_by}",
                hint="give --pair-by a key that images and references have, or stem",
            )
    features = _extract_all(records, extractors)
    return GivenReferences(records, features, pair_by, _extract_all(others, extractors))


def reference_fingerprint(records: Sequence[Record], pair_by: str | None) -> str:
    """8 hex digits that identify a set of references and how they are paired, in any order."""
    rows = sorted([record["id"], pairing_key(record, pair_by) or ""] for record in records)
    return hashlib.sha256(canonical_json([rows, pair_by]).encode()).hexdigest()[:8]


def _extract_all(records: Sequence[Record], extractors: FeatureExtractors) -> list[Features]:
    results: list[Features] = []
    for batch in batched(records, extractors.batch_size):
        names = [str(record.get("file_name")) for record in batch]
        for features in extract_features(names, extractors):
            if isinstance(features, BadRecord):
                message = f"reference: {features.message}"
                raise MegastyleError(message, hint="repair or remove it")
            results.append(features)
    return results


def _single_match(name: str, features: Features | BadRecord) -> ReferenceMatch | BadRecord:
    if isinstance(features, BadRecord):
        return features
    sums = {role: vector.astype(np.float64) for role, vector in features.items()}
    return ReferenceMatch(key=name, count=1, sums=sums)


def pairing_key(record: Record, pair_by: str | None) -> str | None:
    """What a record shares with its references: "" without `pair_by`, None if it lacks the key."""
    if pair_by is None:
        return ""
    if pair_by != STEM:
        return None if record.get(pair_by) is None else str(record[pair_by])
    name = str(record.get("file_name")).rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[0]
