"""The folder of a benchmark: complete in itself, so that it can be moved, shipped and checked.

  benchmark.json   how it was made, counts by licence, and the hash that seals it
  images/          the pictures
  ATTRIBUTION.md   their licences and sources
  metadata.jsonl   the records, each marked "query" or "gallery" under `benchmark`; it gets its name
                   last: with it the benchmark is complete

The seal is over pixels and labels. So the same pictures saved by another program give the same
seal, and a recipe can reproduce it. Format 1, of version 0.2, had no pictures inside and was sealed
by the bytes of files: it is still read.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from megastyle_cli.benchmark.pictures import count_licenses
from megastyle_cli.benchmark.pixel_hash import file_pixel_hash
from megastyle_cli.benchmark.selection import (
    QUERY,
    RECIPE,
    SPLIT_KEY,
    Selection,
    content_counts,
    group_of,
)
from megastyle_cli.core.atomic_file import atomic_write
from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.json_file import read_object
from megastyle_cli.core.record import PROVENANCE, Record, canonical_json
from megastyle_cli.io.record_names import picture_id
from megastyle_cli.runner.side_input import read_side_input

FILE = "benchmark.json"
FORMAT = 2
RULE = (
    "Of each style, some contents (one in four by default), drawn by a hash of seed, style and"
    " content, are queries; the others are the gallery. So a query's style answers in other"
    " contents only, among pictures of its content in other styles."
)
HINT = "create it again or restore it: its scores would not be comparable"
_REQUIRED = {
    **dict.fromkeys(("styles", "per_style", "seed", "queries", "gallery"), int),
    **dict.fromkeys(("label", "content_label", "hash"), str),
}


@dataclass(frozen=True, kw_only=True)
class BenchmarkSettings:
    """How a benchmark was made, what it holds, and the hash that seals it.

    `other` are keys that this version does not know: they are kept.
    """

    format: int = FORMAT
    recipe: int = RECIPE
    styles: int
    per_style: int
    seed: int
    label: str
    content_label: str
    group: str | None = None
    groups: int | None = None
    one_per_group: bool = False
    shared_contents: bool = False
    where: dict[str, list[str]] = field(default_factory=dict)
    queries: int
    gallery: int
    licenses: dict[str, int] = field(default_factory=dict)
    contents: dict[str, int] = field(default_factory=dict)
    hash: str
    rule: str = RULE
    other: dict[str, Any] = field(default_factory=dict)


def seal(
    rows: Sequence[Record], selection: Selection, where: dict[str, list[str]]
) -> BenchmarkSettings:
    """The settings of a benchmark of these rows, whose pictures note their pixel hashes."""
    label, content_label, group = selection.label, selection.content_label, selection.group
    num_queries = sum(row[SPLIT_KEY] == QUERY for row in rows)
    return BenchmarkSettings(
        styles=selection.styles,
        per_style=selection.per_style,
        seed=selection.seed,
        label=label,
        content_label=content_label,
        group=group,
        groups=len({group_of(row, group, label) for row in rows}) if group else None,
        one_per_group=selection.one_per_group,
        shared_contents=selection.shared_contents,
        where=where,
        queries=num_queries,
        gallery=len(rows) - num_queries,
        licenses=count_licenses(rows),
        contents=content_counts(rows, label, content_label),
        hash=_fingerprint(rows, (label, content_label, group, SPLIT_KEY), "pixels"),
    )


def verify_benchmark(records: Sequence[Record], settings: BenchmarkSettings, name: str) -> None:
    """Raises MegastyleError if the records or pictures of the benchmark `name` have changed.

    A picture that was saved again with the same pixels has not changed.
    """
    expected = settings.queries + settings.gallery
    if len(records) != expected:
        raise MegastyleError(
            f"{name} has {len(records)} records, but was created with {expected}", HINT
        )
    keys: tuple[str | None, ...] = (settings.label, settings.content_label)
    if settings.format == 1:
        found = _fingerprint(records, ("id", *keys, SPLIT_KEY), "picture")
    else:
        found = _fingerprint(records, (*keys, settings.group, SPLIT_KEY), "pixels")
    if found != settings.hash:
        raise MegastyleError(f"{name} has other rows than when it was created", HINT)
    for record in records:
        if not _has_its_picture(record, settings.format):
            raise MegastyleError(
                f"{record['file_name']} has changed since {name} was created", HINT
            )


def open_benchmark(folder: Path) -> tuple[BenchmarkSettings, list[Record]]:
    """The settings and the records of the benchmark in `folder`, verified."""
    settings = read_settings(folder)
    records = list(read_side_input([str(folder)]))
    verify_benchmark(records, settings, str(folder))
    return settings, records


def noted(record: Record, key: str) -> str:
    """What a row of a benchmark notes of its picture: `picture`, or `pixels`; "" if nothing."""
    notes = record.get(PROVENANCE)
    own = notes.get("eval") if isinstance(notes, dict) else None
    return str(own.get(key, "")) if isinstance(own, dict) else ""


def check_folder(folder: Path) -> None:
    """Raises MegastyleError if `folder` holds a data set that a benchmark would overwrite."""
    if (folder / "metadata.jsonl").exists() and not (folder / FILE).exists():
        raise MegastyleError(
            f"{folder} already holds images", hint="give --make-benchmark a new folder"
        )


def write_settings(folder: Path, settings: BenchmarkSettings) -> None:
    """Writes benchmark.json; call it before the listing of the benchmark gets its name."""
    known = asdict(settings)
    atomic_write(folder / FILE, json.dumps(known | known.pop("other"), indent=1) + "\n")


def read_settings(folder: Path) -> BenchmarkSettings:
    """What `write_settings` wrote, also with more keys or of an earlier version.

    Raises MegastyleError if it is missing, damaged, or of a newer format.
    """
    try:
        found = read_object(folder / FILE, "make it again")
    except FileNotFoundError:
        raise MegastyleError(
            f"{folder} is not a benchmark: it has no {FILE}",
            hint="create one with --make-benchmark",
        ) from None
    version = found.get("format", 1)
    if version not in range(1, FORMAT + 1):
        raise MegastyleError(
            f"{folder} is a benchmark of format {version}; this version reads 1 to {FORMAT}",
            hint="update megastyle",
        )
    read_object(folder / FILE, "make it again", **_REQUIRED)
    names = {each.name for each in fields(BenchmarkSettings)} - {"other"}
    known = {key: value for key, value in found.items() if key in names}
    other = {key: value for key, value in found.items() if key not in names}
    earlier = {"format": 1, "recipe": 1} if version == 1 else {}
    return BenchmarkSettings(**{**earlier, **known, "other": other})


def _fingerprint(records: Sequence[Record], keys: Sequence[str | None], picture: str) -> str:
    """16 hex digits over the values under `keys` and the picture of all records, in any order."""
    rows = sorted(
        [*(str(record.get(key)) for key in keys if key), noted(record, picture) or "None"]
        for record in records
    )
    return hashlib.sha256(canonical_json(rows).encode()).hexdigest()[:16]


def _has_its_picture(record: Record, version: int) -> bool:
    try:
        if picture_id(record["file_name"]) == noted(record, "picture"):
            return True
        return version > 1 and file_pixel_hash(record["file_name"]) == noted(record, "pixels")
    except BadRecord as bad:
        raise MegastyleError(bad.message, HINT) from bad
