"""A retrieval benchmark out of a data set: styles x contents, split once, sealed by a hash.

After StyleRetrieval of MegaStyle (2,400 held-out styles of 32 contents each), whose own choice and
split are not published; rule and split here are ours. All draws are by hashes of seed and names, so
neither the order of the records nor further styles change them.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import PROVENANCE, Record, annotate, canonical_json, record_seed

SPLIT_KEY = "benchmark"
QUERY, GALLERY = "query", "gallery"
QUERY_SHARE = 4  # one content in so many asks, at least one a style
RULE = (
    "Of each style, one content in four (at least one), drawn by a hash of seed, style and content,"
    " is a query; the others are the gallery. So a query's style answers in other contents only,"
    " among pictures of its content in other styles."
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a benchmark was made with, and the hash of what was made."""

    styles: int
    per_style: int
    seed: int
    label: str
    content_label: str
    queries: int
    gallery: int
    hash: str
    rule: str = RULE


def as_settings(told: Record, name: str) -> Settings:
    """What benchmark.json of `name` holds. Raises MegastyleError if it is not all there."""
    try:
        return Settings(**told)
    except TypeError as error:
        raise MegastyleError(
            f"{name} holds other settings than a benchmark has: {error}", hint="make it again"
        ) from error


def choose(
    records: Sequence[Record],
    *,
    label: str,
    content_label: str,
    styles: int,
    per_style: int,
    seed: int,
) -> list[Record]:
    """`styles` styles with `per_style` contents each, a picture for each, marked query or gallery.

    A record counts if it has a picture, a `label` and a `content_label`. Styles prefer the same
    contents. Style by style, in the order of the draw. Raises MegastyleError if there are not so
    many styles with so many contents.
    """
    found: dict[str, dict[str, Record]] = {}
    for record in records:
        if all(record.get(key) is not None for key in (label, content_label, "file_name")):
            pictures = found.setdefault(str(record[label]), {})
            known = pictures.setdefault(str(record[content_label]), record)
            if record["id"] < known["id"]:
                pictures[str(record[content_label])] = record
    enough = [style for style, pictures in found.items() if len(pictures) >= per_style]
    if len(enough) < styles:
        raise MegastyleError(
            f"{len(enough)} of {len(found)} styles ({label}) have {per_style} contents"
            f" ({content_label}) or more, and {styles} are asked for",
            hint="give smaller --styles or --per-style, or see --label and --content-label",
        )
    chosen: list[Record] = []
    for style in _drawn(enough, styles, seed, "style"):
        contents = _drawn(list(found[style]), per_style, seed, "content")
        asking = _drawn(contents, max(1, per_style // QUERY_SHARE), seed, f"query {style}")
        for content in contents:
            part = QUERY if content in asking else GALLERY
            chosen.append({**found[style][content], SPLIT_KEY: part})
    return chosen


def sealed(
    chosen: Sequence[Record], picture_id: Callable[[str], str], settings: Record, run: str
) -> tuple[list[Record], Settings]:
    """The chosen records, each noting the id of its picture's bytes, and the benchmark's settings.

    `settings` are those `choose` had. Raises MegastyleError if a picture cannot be read.
    """
    try:
        pictures = [picture_id(record["file_name"]) for record in chosen]
    except BadRecord as bad:
        raise MegastyleError(bad.message, hint="mend it, or leave its record out") from bad
    rows = [
        annotate(record, "eval", run=run, picture=picture)
        for record, picture in zip(chosen, pictures, strict=True)
    ]
    asking = sum(record[SPLIT_KEY] == QUERY for record in rows)
    digest = fingerprint(rows, settings["label"], settings["content_label"])
    made = Settings(**settings, queries=asking, gallery=len(rows) - asking, hash=digest)
    return rows, made


def verify(
    records: Sequence[Record], settings: Settings, picture_id: Callable[[str], str], name: str
) -> None:
    """Raises MegastyleError if the benchmark `name` is not what it was made as."""
    made = settings.queries + settings.gallery
    again = "make it again, or get it back as it was: its figures would compare with no others"
    if len(records) != made:
        raise MegastyleError(f"{name} has {len(records)} records and was made of {made}", again)
    if fingerprint(records, settings.label, settings.content_label) != settings.hash:
        raise MegastyleError(f"{name} has other rows than those it was made of", again)
    for record in records:
        try:
            is_same = picture_id(record["file_name"]) == record[PROVENANCE]["eval"]["picture"]
        except BadRecord as bad:
            raise MegastyleError(bad.message, again) from bad
        if not is_same:
            raise MegastyleError(f"{record['file_name']} has changed since {name} was made", again)


def fingerprint(records: Sequence[Record], label: str, content_label: str) -> str:
    """16 hex digits over id, style, content, split and picture of all records, in any order."""
    told = sorted(
        [
            str(record["id"]),
            str(record.get(label)),
            str(record.get(content_label)),
            str(record.get(SPLIT_KEY)),
            str(record.get(PROVENANCE, {}).get("eval", {}).get("picture")),
        ]
        for record in records
    )
    return hashlib.sha256(canonical_json(told).encode()).hexdigest()[:16]


def _drawn(names: Sequence[str], count: int, seed: int, what: str) -> list[str]:
    """`count` of the names, drawn by a hash of each."""
    return sorted(names, key=lambda name: (record_seed(seed, f"{what} {name}"), name))[:count]
