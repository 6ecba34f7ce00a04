"""Duplicate texts: the same, nearly the same, or the same in meaning; one of each stays.

One rule for all three: the texts are tried in order, and one is a duplicate if it is close enough
to a text *kept* before it. So every keeper is itself kept and itself close, and distinct texts are
never chained away through the texts between them. Ours; the three measures are those of
NeMo-Curator (exact, MinHash, embeddings), which joins by chains and verifies no candidate.

Texts come in blocks and are not held: of each distinct one, its key, its grams and its bands are.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.engine import Engine
from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.core.choices import KeepPolicy
from megastyle_cli.dedup.common_ngrams import WORDS, mark_template
from megastyle_cli.dedup.config import Options
from megastyle_cli.dedup.exact import keys_of, normalized_buffer, num_characters
from megastyle_cli.dedup.hash_index import KeySet
from megastyle_cli.dedup.selection import buckets, no_links, settle, shared_keys
from megastyle_cli.dedup.semantic import (
    Akin,
    Embed,
    Looked,
    SemanticOptions,
    Texts,
    distances_to_centroid,
)
from megastyle_cli.dedup.signatures import Digested, digest

Array = npt.NDArray[Any]
How = Literal["exact", "near", "semantic"]
HOWS: tuple[How, ...] = ("exact", "near", "semantic")  # the order they are tried in

BLOCK = 4096  # texts digested, or embedded, at a time


@dataclass(frozen=True, kw_only=True)
class Duplicate:
    """Record number `row` repeats the kept record number `of`; `score` in [0, 1], 1 is equal."""

    row: int
    of: int
    how: How
    score: float


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """What became of n records: 0 in `how` stays, else HOWS[how - 1]; it went for record `of`.

    A copy of a text that itself went is for whom that went, and as close.
    """

    how: Array  # (n,) uint8
    of: Array  # (n,) int64
    score: Array  # (n,) float64
    is_copy: Array  # (n,) bool: another record stands for its text

    def __len__(self) -> int:
        return len(self.how)

    def __iter__(self) -> Iterator[Duplicate]:
        for row in np.flatnonzero(self.how).tolist():
            yield self.duplicate(row)

    def staying(self) -> Array:
        """The records that stay."""
        return np.flatnonzero(self.how == 0)

    def gone(self) -> Array:
        """The records that go."""
        return np.flatnonzero(self.how)

    def keepers(self) -> Iterable[int]:
        """For whom each of those goes."""
        rows: list[int] = self.of[self.how > 0].tolist()
        return rows

    def duplicate(self, row: int) -> Duplicate:
        """The verdict on a record that goes."""
        how = HOWS[self.how[row] - 1]
        return Duplicate(row=row, of=int(self.of[row]), how=how, score=float(self.score[row]))


@dataclass(frozen=True, kw_only=True)
class StageCount:
    """How many records one measure saw and removed, and the least alike pair it joined."""

    how: How
    seen: int
    removed: int
    example: Duplicate | None


class Dedup:
    """The three measures over texts that come as a stream and are read again only where needed."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.digested = Digested(options.near)
        self.looked = Looked()
        self.seconds = dict.fromkeys(HOWS, 0.0)  # near's n-grams are made while exact's keys are

    def digest(self, blocks: Iterable[StringArray], engine: Engine) -> None:
        """Draws all texts and keeps what the measures need of them."""
        started = time.perf_counter()
        near = self.options.near
        for block in engine.map(digest, self._new_texts(blocks), near):
            self.digested.add(block)
        self.seconds["exact"] = time.perf_counter() - started

    def _new_texts(self, blocks: Iterable[StringArray]) -> Iterator[StringArray]:
        """Of each block those that did not come before, normalized."""
        exact, known = self.options.exact, KeySet()
        for texts in blocks:
            tidy = normalized_buffer(texts)
            if exact:
                numbers = known.add(keys_of(texts if exact == "raw" else tidy))
            else:
                start = self.digested.num_texts
                numbers = np.arange(start, start + len(texts), dtype=np.int32)
            first = self.digested.number(numbers, num_characters(texts))
            yield tidy.take(first)

    def judge(self, engine: Engine, texts: Texts) -> Verdicts:
        """What becomes of every record."""
        return judge(self.digested, self.options, engine, texts, self.seconds, self.looked)


def find_duplicates(
    texts: Sequence[str],
    engine: Engine,
    options: Options,
    *,
    ids: Sequence[str] | None = None,
    embeds: Sequence[Embed] = (),
) -> Verdicts:
    """What becomes of `texts` in memory; without `ids` their numbers are."""
    dedup = Dedup(options)
    blocks = (texts[start : start + BLOCK] for start in range(0, len(texts), BLOCK))
    dedup.digest(map(StringArray.from_strings, blocks), engine)
    names = ids or [f"{row:012}" for row in range(len(texts))]
    read = Texts(lambda rows: (texts[row] for row in rows.tolist()), lambda: names, embeds)
    return dedup.judge(engine, read)


def judge(
    digested: Digested,
    options: Options,
    engine: Engine,
    texts: Texts,
    seconds: dict[How, float],
    looked: Looked,
) -> Verdicts:
    """What becomes of every record; `texts` reads only what the measures ask for."""
    started = time.perf_counter()
    near, semantic = options.near, options.semantic
    number = digested.numbers.rows()
    rows = _representatives(digested, number, options.keep, texts)
    links = no_links(digested.num_texts)
    if near is not None:
        links = buckets(engine.map(shared_keys, digested.band_keys()), digested.num_texts)
    sets = digested.sets()
    template = 0
    if near is not None and near.template:
        mark_template(sets.grams, digested.num_texts, near.template)
        template = WORDS
    akin = Akin(digested.num_texts, semantic or SemanticOptions(), texts, rows, engine, looked)
    order = _order(digested, rows, options.keep, texts, akin)
    while True:
        threshold = near.threshold if near else 1.0
        how, of, score = settle(order, sets, links, threshold, akin.links(order), template)
        if seconds["near"] == 0.0:
            seconds["near"] = time.perf_counter() - started
        if semantic is None or not akin.meet(order[how == 0], order):
            seconds["semantic"] = time.perf_counter() - started - seconds["near"]
            return _of_records(number, rows, order, how, of, score)


def _representatives(digested: Digested, number: Array, keep: KeepPolicy, texts: Texts) -> Array:
    """(u,) the record that stands for each text: its first, its longest, or that of least id."""
    if keep == "first":
        return digested.rows.rows()
    by_id = _ranks(texts.ids())
    length = digested.lengths.rows() if keep == "longest" else np.zeros_like(by_id)
    order = np.lexsort((by_id, -length, number))
    _, first = np.unique(number[order], return_index=True)
    return order[first]


def _order(digested: Digested, rows: Array, keep: KeepPolicy, texts: Texts, akin: Akin) -> Array:
    """(u,) texts in the order they are tried."""
    if keep == "first":
        return np.arange(len(rows), dtype=np.int32)
    by_id = _ranks(texts.ids())[rows]
    if keep == "longest":
        first = -digested.lengths.rows()[rows].astype(np.float64)
    elif len(rows):
        canonical = np.argsort(by_id).astype(np.int32)
        akin.meet(canonical, canonical)
        first = np.empty(len(rows))
        first[canonical] = distances_to_centroid(akin.vectors) * (-1 if keep == "hard" else 1)
    else:
        first = np.empty(0)
    order: Array = np.lexsort((by_id, first)).astype(np.int32)
    return order


def _ranks(ids: Iterable[str]) -> Array:
    """(n,) the place of each id among all of them; equal ones as they come."""
    listed = list(ids)
    ranks = np.empty(len(listed), np.int64)
    ranks[sorted(range(len(listed)), key=listed.__getitem__)] = np.arange(len(listed))
    return ranks


def count_stages(verdicts: Verdicts, hows: Iterable[How]) -> list[StageCount]:
    """What each measure in `hows` did, in order; each sees what the last left."""
    seen = len(verdicts)
    counts = []
    for how in hows:
        gone = np.flatnonzero(verdicts.how == HOWS.index(how) + 1)
        copies = verdicts.is_copy.sum()  # all of them go, whatever became of their text
        removed = int(copies if how == "exact" else (~verdicts.is_copy[gone]).sum())
        example = gone[np.argmin(verdicts.score[gone])] if len(gone) else None
        counts.append(
            StageCount(
                how=how,
                seen=seen,
                removed=removed,
                example=None if example is None else verdicts.duplicate(int(example)),
            )
        )
        seen -= removed
    return counts


def _of_records(
    number: Array, rows: Array, order: Array, how: Array, of: Array, score: Array
) -> Verdicts:
    """Verdicts on texts, in the order tried, as verdicts on records."""
    n = len(rows)
    by_text: list[Array] = [np.zeros(n, np.uint8), np.arange(n), np.ones(n)]
    for whole, part in zip(by_text, (np.where(how > 0, how + 1, 0), of, score), strict=True):
        whole[order] = part
    how, of, score = (part[number] for part in by_text)
    of = rows[of]
    # a copy meets the end of its text, which may itself have gone for another
    is_copy = (how == 0) & (of != np.arange(len(number)))
    how[is_copy] = 1
    return Verdicts(how=how, of=of, score=score, is_copy=rows[number] != np.arange(len(number)))
