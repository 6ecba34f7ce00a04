"""Results by query: the lines that `eval --each` writes for a benchmark, and anyone can fold.

A line has the query's `id`, `file_name`, `style_id`, `content_id` and `group`, the `system` and
the `tier`, each measure, its `random_*` expectation, `missing` (pictures that the system lacks),
`fitted` (whether the encoder was fitted on the style) and, as `neighbors`, what was found first.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from megastyle_cli.benchmark.folder import BenchmarkSettings, noted
from megastyle_cli.benchmark.painters import PaintedPictures
from megastyle_cli.benchmark.pixel_hash import file_pixel_hash
from megastyle_cli.benchmark.ranking import Ranked, rank_queries
from megastyle_cli.benchmark.selection import QUERY, SPLIT_KEY, group_of
from megastyle_cli.benchmark.tiers import (
    Labels,
    allowed,
    codes,
    near_styles,
    style_means,
)
from megastyle_cli.benchmark.vector_cache import LoadedEncoder, encode_pictures
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Record
from megastyle_cli.evaluate.labels import label_of
from megastyle_cli.retrieval.embed import Array

DIGITS = 6
PLAIN = "plain"
# id, style and content: equal pictures may have one id
Query = tuple[str, str, str]
# what a failed query scores by chance, rather than 0
BY_CHANCE = ("same_content_1", "style_score")

_MEASURE = re.compile(r"(csls_)?(recall|map|map_csd)_\d+|same_content_1|style_score")


@dataclass(frozen=True)
class SealedSet:
    """The records of a verified benchmark, their labels, and the pixel hashes of their pictures."""

    records: Sequence[Record]
    settings: BenchmarkSettings

    @cached_property
    def labels(self) -> Labels:
        """The labels as codes; `near` is not known yet."""
        return Labels(
            style=codes(self.styles),
            content=codes(self.contents),
            group=codes(self.groups),
            is_query=np.array([record.get(SPLIT_KEY) == QUERY for record in self.records]),
        )

    @cached_property
    def styles(self) -> list[str]:
        """The style of each record."""
        return [str(label_of(record, self.settings.label)) for record in self.records]

    @cached_property
    def contents(self) -> list[str]:
        """The content of each record."""
        return [str(label_of(record, self.settings.content_label)) for record in self.records]

    @cached_property
    def groups(self) -> list[str]:
        """The group of each record's style."""
        settings = self.settings
        return [group_of(record, settings.group, settings.label) for record in self.records]

    @cached_property
    def hashes(self) -> list[str]:
        """The pixel hash of each record's picture."""
        return [
            noted(record, "pixels") or file_pixel_hash(record["file_name"])
            for record in self.records
        ]

    @property
    def names(self) -> dict[str, str]:
        """A file for each pixel hash."""
        files = [str(record["file_name"]) for record in self.records]
        return dict(zip(self.hashes, files, strict=True))

    def encode(self, loaded: LoadedEncoder, change: str, cache: Path | None) -> Array:
        """The vectors (n, d) of all records' pictures, changed so; NaN where the encoder failed."""
        found = encode_pictures(self.names, loaded, change=change, cache=cache)
        return np.stack([found[each] for each in self.hashes])

    def near(self, vectors: Array) -> Array:
        """Which styles are near each style, by the mean of `vectors` (n, d) of its records."""
        return near_styles(style_means(np.nan_to_num(vectors), self.labels.style))


def rank_system(
    sealed: SealedSet,
    tier: str,
    vectors: Array,
    ks: Sequence[int],
    *,
    near: Array | None = None,
    painted: PaintedPictures | None = None,
) -> Iterator[Record]:
    """The line of each query of a tier, without the system's name.

    `vectors` (n, d) are those of the benchmark's records. With `painted` its pictures are the
    queries: each measure is the mean over the pictures of the query's style and content, and
    `style_score` their cosine with the gallery's pictures of the style. Queries whose gallery
    in the tier holds only one style are left out. Raises MegastyleError if these are all.
    """
    found = list(_lines(sealed, tier, vectors, ks, near, painted))
    if not found:
        raise MegastyleError(
            f"no query has another style to search in tier {tier}", hint="omit that --tier"
        )
    yield from found


def _lines(
    sealed: SealedSet,
    tier: str,
    vectors: Array,
    ks: Sequence[int],
    near: Array | None,
    painted: PaintedPictures | None,
) -> Iterator[Record]:
    labels = sealed.labels
    labels = Labels(**{**vars(labels), "near": near}) if near is not None else labels
    gallery = labels.gallery
    owner, rows = labels.queries, vectors[labels.queries]
    if painted is not None:
        owner, rows = painted.as_queries(labels.queries, vectors.shape[1])
    style, content = labels.style, labels.content

    ranked = rank_queries(
        rows,
        vectors[gallery],
        allowed=lambda some: allowed(tier, labels, owner[some]),
        is_positive=lambda some: style[owner[some], None] == style[gallery],
        is_same_content=lambda some: content[owner[some], None] == content[gallery],
        ks=ks,
        csls=tier == PLAIN,
    )
    if painted is not None:
        _add_style_score(ranked, rows, owner, vectors, labels)
    for query in labels.queries:
        own = np.flatnonzero(owner == query)
        searched = np.asarray(allowed(tier, labels, np.array([query])))[0]
        others = searched & np.asarray(style[gallery] != style[query])
        if others.any():
            line = _line(sealed, int(query)) | {"tier": tier} | _values(ranked, own)
            missing = sum(bool(np.isnan(row).any()) for row in rows[own])
            yield line | _found(sealed, ranked, own, gallery) | {"missing": missing}


def check_lines(lines: Iterable[Record]) -> list[Record]:
    """The lines, if there are any and they are of one benchmark.

    Raises MegastyleError if they are of several benchmarks, or if a system answers a query twice in
    different ways.
    """
    found: dict[tuple[str, str, Query], Record] = {}
    benchmarks: dict[str, str] = {}
    for line in lines:
        benchmark = fact(line, "benchmark")
        benchmarks.setdefault(benchmark, str(line["system"]))
        if len(benchmarks) > 1:
            (first, one), (second, other) = benchmarks.items()
            raise MegastyleError(
                f"the results of {one} and {other} are of different benchmarks:"
                f" {first} and {second}",
                hint="fold results of one benchmark",
            )
        key = (str(line["system"]), str(line["tier"]), query_of(line))
        before = found.setdefault(key, line)
        if _measures(before) != _measures(line):
            raise MegastyleError(
                f"{key[0]} answers query {line['id']} twice, in different ways",
                hint="rename one of the systems: eval --system NAME=...",
            )
    if not found:
        raise MegastyleError("there are no results of queries", hint="write some with --each")
    return list(found.values())


def query_of(line: Record) -> Query:
    """What identifies the query of a line: its id, style and content."""
    return str(line["id"]), str(line["style_id"]), str(line.get("content_id"))


def fact(line: Record, name: str) -> str:
    """What a line notes of its system and benchmark under `name`; "" if nothing."""
    notes = line.get("_megastyle")
    own = notes.get("eval") if isinstance(notes, Mapping) else None
    return str(own.get(name) or "") if isinstance(own, Mapping) else ""


def is_query_result(record: Record) -> bool:
    """Whether a record is such a line."""
    return {"id", "style_id", "system", "tier"} <= record.keys() and bool(fact(record, "benchmark"))


def is_measure(key: str) -> bool:
    """Whether a key of a line is a measure."""
    return _MEASURE.fullmatch(key) is not None


def _measures(line: Record) -> Record:
    return {key: value for key, value in line.items() if is_measure(key)}


def _line(sealed: SealedSet, row: int) -> Record:
    record = sealed.records[row]
    return {
        "id": str(record["id"]),
        "file_name": record["file_name"],
        "style_id": sealed.styles[row],
        "content_id": sealed.contents[row],
        "group": sealed.groups[row],
    }


def _values(ranked: Ranked, own: Array) -> Record:
    line: Record = {}
    for name, values in ranked.measures.items():
        line[name] = round(float(values[own].mean()), DIGITS) + 0.0
        if not name.startswith("csls_"):
            line[f"random_{name}"] = round(float(ranked.expected[name][own].mean()), DIGITS) + 0.0
    return line


def _found(sealed: SealedSet, ranked: Ranked, own: Array, gallery: Array) -> Record:
    first = int(ranked.first[own[0]])
    if first < 0:
        return {}
    record = sealed.records[gallery[first]]
    score = round(float(ranked.first_score[own[0]]), 4)
    near = {"id": str(record["id"]), "score": score, "file_name": record["file_name"]}
    return {"neighbors": [near]}


def _add_style_score(
    ranked: Ranked, rows: Array, owner: Array, vectors: Array, labels: Labels
) -> None:
    """Adds `style_score`; where a picture is missing it is that of the original with strangers."""
    style = labels.style
    gallery = labels.gallery[~np.isnan(vectors[labels.gallery]).any(axis=1)]
    sums = np.zeros((style.max() + 1, vectors.shape[1]))
    np.add.at(sums, style[gallery], vectors[gallery].astype(np.float64))
    counts = np.bincount(style[gallery], minlength=len(sums))
    own_count = np.maximum(counts[style[owner]], 1)
    other_count = np.maximum(len(gallery) - counts[style[owner]], 1)
    own_sum, total = sums[style[owner]], sums.sum(axis=0)
    is_there = np.array([not np.isnan(row).any() for row in rows])
    shown = np.where(is_there[:, None], rows, np.nan_to_num(vectors[owner])).astype(np.float64)
    with_own = (shown * own_sum).sum(axis=1) / own_count
    with_others = (shown * (total - own_sum)).sum(axis=1) / other_count
    ranked.measures["style_score"] = np.where(is_there, with_own, with_others)
    ranked.expected["style_score"] = with_others
