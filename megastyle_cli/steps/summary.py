"""One summary of a scored set: style score, retrieval by style, spread, and what chance gives."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from megastyle_cli.errors import TOO_MANY_FAILURES, BadRecord, MegastyleError
from megastyle_cli.models.backend import StyleEncoder
from megastyle_cli.record import PROVENANCE, Failure, Record
from megastyle_cli.steps.pictures import Read
from megastyle_cli.steps.score import (
    bootstrap_interval,
    query_scores,
    random_scores,
    retrieval_scores,
    spread,
    style_score,
)
from megastyle_cli.steps.vectors import Array, embed_pictures, embed_records, rounded

DIGITS = 4


@dataclass
class Gathered:
    """Records whose picture could be read, and the style vector (d,) of each."""

    records: list[Record] = field(default_factory=list)
    vectors: list[Array] = field(default_factory=list)

    @property
    def matrix(self) -> Array:
        """The vectors as (n, d). Raises MegastyleError if there are none."""
        if not self.vectors:
            raise MegastyleError(
                "no picture could be read", hint="see the errors", exit_code=TOO_MANY_FAILURES
            )
        return np.stack(self.vectors)


def gather(
    records: Iterable[Record], encoder: StyleEncoder, read: Read, into: Gathered
) -> Iterator[Failure]:
    """Puts the records and their vectors `into` it, scored where they have a reference.

    A record that carries a score from the same model keeps it. What cannot be read is yielded.
    """
    references: dict[str, Array | BadRecord] = {}
    for result in embed_records(records, encoder, read):
        if isinstance(result, Failure):
            yield result
            continue
        record, vector = result
        if isinstance(record.get("style_file_name"), str) and not _is_scored(record, encoder.name):
            name = record["style_file_name"]
            if name not in references:
                (references[name],) = embed_pictures(read([name]), encoder)
            reference = references[name]
            if isinstance(reference, BadRecord):
                yield Failure(record, reference.kind, reference.message)
                continue
            record = {**record, "style_score": rounded(style_score(vector, reference))}
        into.records.append(record)
        into.vectors.append(vector)


def _is_scored(record: Record, model: str) -> bool:
    known = record.get(PROVENANCE, {}).get("eval")
    is_number = isinstance(record.get("style_score"), int | float)
    return is_number and isinstance(known, dict) and known.get("model") == model


def summarise(
    records: Sequence[Record],
    vectors: Array,
    *,
    label: str,
    content_label: str,
    ks: Sequence[int],
    seed: int,
) -> dict[str, Any]:
    """What `records` and their style vectors (n, d), unit rows, say together.

    `style_score` is the mean over the records that carry one. Where at least two records share the
    value of `label`: recall_k, map_csd_k (CSD's mean precision over ranks) and map_k (textbook
    average precision), leave-one-out, among pictures of other contents if every record has a
    `content_label`; `random_*` is the exact expectation of a random ranking; `same_content_1` is
    the share of nearest neighbours with the query's content but another style. `*_low` and `*_high`
    bound 95 % by bootstrap over styles.
    """
    told: dict[str, Any] = {"n": len(records)}
    groups = [str(record.get(label, record["id"])) for record in records]
    scores = [record.get("style_score") for record in records]
    known = [
        (group, score)
        for group, score in zip(groups, scores, strict=True)
        if isinstance(score, int | float)
    ]
    if known:
        told |= _with_interval("style_score", [g for g, _ in known], [s for _, s in known], seed)
    if len(set(groups)) == len(groups) or len(set(groups)) < 2:
        return told
    contents = [str(record[content_label]) for record in records if content_label in record]
    told |= _retrieval(
        vectors, groups, contents if len(contents) == len(records) else None, ks, seed
    )
    within, between = spread(vectors, groups)
    return told | {"spread_within": _short(within), "spread_between": _short(between)}


def _retrieval(
    vectors: Array,
    groups: Sequence[str],
    contents: Sequence[str] | None,
    ks: Sequence[int],
    seed: int,
) -> dict[str, Any]:
    other_contents = contents is not None
    queries, measures = query_scores(
        vectors, groups, contents, ks=ks, exclude_same_content=other_contents
    )
    chance = random_scores(groups, contents, ks=ks, exclude_same_content=other_contents)
    told: dict[str, Any] = {"styles": len(set(groups)), "other_contents_only": other_contents}
    for name, values in measures.items():
        told |= _with_interval(name, [groups[row] for row in queries], values.tolist(), seed)
        told[f"random_{name}"] = _short(chance[name])
    if contents is not None:
        all_contents = retrieval_scores(
            vectors, groups, contents, ks=ks, exclude_same_content=False
        )
        told["same_content_1"] = _short(all_contents["same_content_1"])
    return told | {"queries": len(queries), "without_positive": len(groups) - len(queries)}


def _with_interval(
    name: str, groups: Sequence[str], values: Sequence[float], seed: int
) -> dict[str, float | None]:
    by_group: dict[str, list[float]] = {}
    for group, value in zip(groups, values, strict=True):
        by_group.setdefault(group, []).append(value)
    low, high = bootstrap_interval(list(by_group.values()), seed)
    mean = float(np.mean(values))
    return {name: _short(mean), f"{name}_low": _short(low), f"{name}_high": _short(high)}


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS) + 0.0


HEADLINE = {"style_score": "style score", "map_1": "mAP@1", "map_10": "mAP@10"}


def headline(summary: Record) -> str:
    """The figures people ask for first, in one line, with intervals and what chance gives."""
    told = []
    for name, words in HEADLINE.items():
        if name not in summary:
            continue
        low, high = summary[f"{name}_low"], summary[f"{name}_high"]
        chance = summary.get(f"random_{name}")
        beside = "" if chance is None else f", random {chance:.3f}"
        told.append(f"{words} {summary[name]:.3f} [{low:.3f}, {high:.3f}]{beside}")
    return " \u00b7 ".join(told) or f"{summary['n']:,} pictures, none with a style to compare"


def for_page(summary: Record) -> Record:
    """The part of a summary that stands at the top of a page."""
    first = ("n", "styles", *HEADLINE)
    return {
        key: value
        for key, value in summary.items()
        if key.removeprefix("random_").removesuffix("_low").removesuffix("_high") in first
    }


def table(summary: Record) -> str:
    """The summary as lines for a terminal: a measure, its value and interval, what chance gives."""
    lines = []
    for name, value in summary.items():
        if name.startswith(("random_", "_")) or name.endswith(("_low", "_high")):
            continue
        low, high = summary.get(f"{name}_low"), summary.get(f"{name}_high")
        interval = f"[{low:.3f}, {high:.3f}]" if low is not None and high is not None else ""
        chance = summary.get(f"random_{name}")
        beside = f"random {chance:.3f}" if chance is not None else ""
        shown = f"{value:.3f}" if isinstance(value, float) else str(value)
        lines.append(f"{name:20s} {shown:>8s}  {interval:16s} {beside}".rstrip())
    return "\n".join(lines) + "\n"
