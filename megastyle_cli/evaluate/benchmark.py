"""Retrieval benchmarks made from a data set: styles x contents, split once, identified by a hash.

Modelled on StyleRetrieval of MegaStyle (2,400 held-out styles of 32 contents each), whose selection
and split are not published; the rules here are ours. Every draw is a hash of the seed and of names,
so neither the order of the records nor additional styles change it.

  benchmark.json   the settings and the hash of the records
  metadata.jsonl   the records, each marked "query" or "gallery" under `benchmark`; it gets its name
                   last: with it the benchmark is complete
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from megastyle_cli.core.atomic_file import atomic_write
from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.json_file import read_object
from megastyle_cli.core.record import PROVENANCE, Record, annotate, canonical_json, record_seed
from megastyle_cli.evaluate.labels import label_of
from megastyle_cli.io.record_names import picture_id

FILE = "benchmark.json"
SPLIT_KEY = "benchmark"
QUERY, GALLERY = "query", "gallery"
CONTENTS_PER_QUERY = 4  # one content in this many is a query, at least one per style
RULE = (
    "Of each style, one content in four (at least one), drawn by a hash of seed, style and content,"
    " is a query; the others are the gallery. So a query's style answers in other contents only,"
    " among pictures of its content in other styles."
)


@dataclass(frozen=True, kw_only=True)
class BenchmarkSettings:
    """How a benchmark was made, and the hash of its records."""

    styles: int
    per_style: int
    seed: int
    label: str
    content_label: str
    queries: int
    gallery: int
    hash: str
    rule: str = RULE


def select_records(
    records: Sequence[Record],
    *,
    label: str,
    content_label: str,
    styles: int,
    per_style: int,
    seed: int,
) -> list[Record]:
    """`styles` styles with `per_style` contents each, one record for each, marked query or gallery.

    A record is eligible if it has an image, a `label` and a `content_label`; of several with the
    same two the lowest id counts. Styles share contents where they can. Ordered by style, as
    drawn. Raises MegastyleError if too few styles have enough contents.
    """
    by_style: dict[str, dict[str, Record]] = {}
    for record in records:
        style, content = label_of(record, label), label_of(record, content_label)
        if style and content and record.get("file_name"):
            by_content = by_style.setdefault(style, {})
            if content not in by_content or record["id"] < by_content[content]["id"]:
                by_content[content] = record
    eligible = [style for style, contents in by_style.items() if len(contents) >= per_style]
    if len(eligible) < styles:
        raise MegastyleError(
            f"{len(eligible)} of {len(by_style)} styles ({label}) have at least {per_style}"
            f" contents ({content_label}), but --styles is {styles}",
            hint="lower --styles or --per-style, or check --label and --content-label",
        )
    selected: list[Record] = []
    for style in _draw(eligible, styles, seed, "style"):
        contents = _draw(list(by_style[style]), per_style, seed, "content")
        queries = _draw(contents, max(1, per_style // CONTENTS_PER_QUERY), seed, f"query {style}")
        for content in contents:
            part = QUERY if content in queries else GALLERY
            selected.append({**by_style[style][content], SPLIT_KEY: part})
    return selected


def build_benchmark(
    selected: Sequence[Record], settings: Record, run: str
) -> tuple[list[Record], BenchmarkSettings]:
    """The selected records, each noting the id of its image's bytes, and the settings.

    `settings` are the keyword arguments of `select_records`. Raises MegastyleError if an image
    cannot be read.
    """
    try:
        image_ids = [picture_id(record["file_name"]) for record in selected]
    except BadRecord as bad:
        raise MegastyleError(bad.message, hint="repair it, or remove its record") from bad
    rows = [
        annotate(record, "eval", run=run, picture=image_id)
        for record, image_id in zip(selected, image_ids, strict=True)
    ]
    num_queries = sum(record[SPLIT_KEY] == QUERY for record in rows)
    return rows, BenchmarkSettings(
        **settings,
        queries=num_queries,
        gallery=len(rows) - num_queries,
        hash=fingerprint(rows, settings["label"], settings["content_label"]),
    )


def verify_benchmark(records: Sequence[Record], settings: BenchmarkSettings, name: str) -> None:
    """Raises MegastyleError if the records or images of the benchmark `name` have changed."""
    expected = settings.queries + settings.gallery
    hint = "create it again or restore it: its scores would not be comparable"
    if len(records) != expected:
        raise MegastyleError(
            f"{name} has {len(records)} records, but was created with {expected}", hint
        )
    if fingerprint(records, settings.label, settings.content_label) != settings.hash:
        raise MegastyleError(f"{name} has other rows than when it was created", hint)
    for record in records:
        try:
            is_same = picture_id(record["file_name"]) == record[PROVENANCE]["eval"]["picture"]
        except BadRecord as bad:
            raise MegastyleError(bad.message, hint) from bad
        if not is_same:
            raise MegastyleError(
                f"{record['file_name']} has changed since {name} was created", hint
            )


def fingerprint(records: Sequence[Record], label: str, content_label: str) -> str:
    """16 hex digits over id, style, content, split and image of all records, in any order."""
    rows = sorted(
        [
            str(record["id"]),
            str(record.get(label)),
            str(record.get(content_label)),
            str(record.get(SPLIT_KEY)),
            str(record.get(PROVENANCE, {}).get("eval", {}).get("picture")),
        ]
        for record in records
    )
    return hashlib.sha256(canonical_json(rows).encode()).hexdigest()[:16]


def check_folder(folder: Path) -> None:
    """Raises MegastyleError if `folder` holds a data set that a benchmark would overwrite."""
    if (folder / "metadata.jsonl").exists() and not (folder / FILE).exists():
        raise MegastyleError(
            f"{folder} already holds images", hint="give --make-benchmark a new folder"
        )


def write_settings(folder: Path, settings: BenchmarkSettings) -> None:
    """Writes benchmark.json; call it before the listing of the benchmark gets its name."""
    atomic_write(folder / FILE, json.dumps(asdict(settings), indent=1) + "\n")


def read_settings(folder: Path) -> BenchmarkSettings:
    """What `write_settings` wrote. Raises MegastyleError if it is missing or damaged."""
    types: dict[str, Any] = {field.name: field.type for field in fields(BenchmarkSettings)}
    try:
        found = read_object(folder / FILE, "make it again", **types)
        return BenchmarkSettings(**found)
    except FileNotFoundError:
        raise MegastyleError(
            f"{folder} is not a benchmark: it has no {FILE}",
            hint="create one with --make-benchmark",
        ) from None
    except TypeError as error:
        raise MegastyleError(
            f"{folder}: {FILE} does not hold the settings of a benchmark", hint="create it again"
        ) from error


def _draw(names: Sequence[str], count: int, seed: int, purpose: str) -> list[str]:
    """The `count` names with the lowest hashes of seed, purpose and name."""
    return sorted(names, key=lambda name: (record_seed(seed, f"{purpose} {name}"), name))[:count]
