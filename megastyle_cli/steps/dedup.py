"""Duplicate texts: the same, nearly the same, or the same in meaning; one of each stays.

One rule for all three: the texts are tried in order, and one is a duplicate if it is close enough
to a text *kept* before it. So every keeper is itself kept and itself close, and distinct texts are
never chained away through the texts between them. Ours; the three measures are those of
NeMo-Curator (exact, MinHash, embeddings), which joins by chains and verifies no candidate.

Texts come in blocks and are not held: of each distinct one, its key, its grams and its bands are.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from megastyle_cli.buffer import Buffer
from megastyle_cli.choices import DedupPreset, EmbedderRung, ExactText, GramOf, Keep
from megastyle_cli.engines.engine import Engine
from megastyle_cli.errors import MegastyleError
from megastyle_cli.steps.akin import (
    Akin,
    Embed,
    Looked,
    SemanticOptions,
    Texts,
    distances_to_centroid,
)
from megastyle_cli.steps.exact import keys_of, normalized_buffer, num_characters
from megastyle_cli.steps.growing import Growing
from megastyle_cli.steps.keyset import KeySet
from megastyle_cli.steps.minhash import SKETCH, band_keys, hash_functions, sketches
from megastyle_cli.steps.settle import Sets, buckets, no_links, settle, shared_keys
from megastyle_cli.steps.shingles import gram_sets
from megastyle_cli.steps.template import WORDS, mark_template

Array = npt.NDArray[Any]
How = Literal["exact", "near", "semantic"]
HOWS: tuple[How, ...] = ("exact", "near", "semantic")  # the order they are tried in

BLOCK = 4096  # texts digested, or embedded, at a time


@dataclass(frozen=True, kw_only=True)
class NearOptions:
    """The share of n-grams in common (Jaccard) from which two texts are nearly the same.

    `bands` x `band_rows` MinHash values find the candidates, which are then compared themselves:
    a pair of similarity s is a candidate with probability 1 - (1 - s**band_rows)**bands. With
    threshold 0 candidates are not compared. Grams that at least `template` of the texts have count
    only where two texts differ in them, up to 20 of a text; with 0 all count.
    """

    threshold: float = 0.72
    ngram: int = 1
    of: GramOf = "words"
    bands: int = 32
    band_rows: int = 8
    seed: int = 0
    template: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """The measures asked for; None for one that is not."""

    exact: ExactText | None = "normalized"
    near: NearOptions | None = None
    semantic: SemanticOptions | None = None
    keep: Keep = "first"

    def told(self) -> dict[str, Any]:
        """All that can change a verdict, as options of a run."""
        return asdict(self)


# exact and near of each; `nemo` has the numbers of NeMo-Curator 1.x
PRESETS: dict[DedupPreset, tuple[ExactText, NearOptions]] = {
    "styles": ("normalized", NearOptions(template=0.2)),
    "contents": ("normalized", NearOptions(threshold=0.75, ngram=2)),
    "nemo": (
        "raw",
        NearOptions(threshold=0.0, ngram=24, of="characters", bands=20, band_rows=13, seed=42),
    ),
}
# least cosine of each rung of the ladder of embedders
THRESHOLDS: dict[EmbedderRung, float] = {"static": 0.99, "verified": 0.95, "sentence": 0.95}


@dataclass(frozen=True, kw_only=True)
class Duplicate:
    """Record number `row` repeats the kept record number `of`; `score` in [0, 1], 1 is equal."""

    row: int
    of: int
    how: How
    score: float


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """What became of n records: 0 in `how` stays, else HOWS[how - 1]; it went for record `of`."""

    how: Array  # (n,) uint8
    of: Array  # (n,) int64
    score: Array  # (n,) float64

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


@dataclass(frozen=True)
class Digest:
    """All that is kept of the words of n texts."""

    grams: Array  # (m,) uint32
    starts: Array  # (n + 1,) int64
    bands: Array  # (bands, n) uint32
    sketches: Array  # (n, SKETCH) uint64


class Digested:
    """All that is kept of n records with u distinct texts, numbered as they came."""

    def __init__(self, near: NearOptions | None) -> None:
        bands = 0 if near is None else near.bands
        self.numbers = Growing(np.int32)  # the text of each record
        self.lengths = Growing(np.int32)
        self.rows = Growing(np.int64)  # the first record of each text
        self.grams = Growing(np.uint32)
        self.sizes = Growing(np.int32)  # grams of each text
        self.bands = [Growing(np.uint32) for _ in range(bands)]
        self.sketches = Growing(np.uint64, SKETCH)

    @property
    def num_texts(self) -> int:
        """u."""
        return len(self.rows)

    def number(self, numbers: Array, lengths: Array) -> Array:
        """Records more, by the numbers (n,) of their texts, new ones counting on.

        (k,) which of them are the first of their text.
        """
        so_far = np.maximum.accumulate(np.append(self.num_texts - 1, numbers))
        first = np.flatnonzero(numbers > so_far[:-1])
        self.rows.extend(first + len(self.numbers))
        self.numbers.extend(numbers)
        self.lengths.extend(lengths)
        return first

    def add(self, block: Digest) -> None:
        """The words of as many of the texts, in their order."""
        self.grams.extend(block.grams)
        self.sizes.extend(np.diff(block.starts))
        for band, keys in zip(self.bands, block.bands, strict=True):
            band.extend(keys)
        self.sketches.extend(block.sketches)

    def band_keys(self) -> Iterator[Array]:
        """(u,) uint32 for each band; they are held nowhere else afterwards."""
        while self.bands:
            yield self.bands.pop(0).rows()

    def sets(self) -> Sets:
        """The grams of all texts."""
        starts = np.zeros(self.num_texts + 1, np.int64)
        np.cumsum(self.sizes.rows(), out=starts[1:])
        return Sets(self.grams.rows(), starts, self.sketches.rows())


def chosen(
    preset: DedupPreset,
    *,
    exact: bool,
    exact_text: ExactText | None,
    near: bool,
    near_threshold: float | None,
    ngram: int | None,
    ngram_of: GramOf | None,
    semantic: bool,
    semantic_threshold: float | None,
    semantic_recall: float = 0.99,
    embedder: EmbedderRung,
    keep: Keep,
) -> Options:
    """The preset's values, but for those that are given.

    Raises MegastyleError if `keep` asks for vectors that nothing makes.
    """
    if keep in ("hard", "easy") and not semantic:
        raise MegastyleError(
            f"--keep {keep} ranks by embeddings, and --no-semantic makes none",
            hint="leave out one of them",
        )
    text, nearly = PRESETS[preset]
    given = {"threshold": near_threshold, "ngram": ngram, "of": ngram_of}
    if ngram is not None or ngram_of is not None:
        nearly = replace(nearly, template=0.0)  # it was chosen for words
    nearly = replace(nearly, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    least = semantic_threshold
    if least is None:
        least = 0.99 if preset == "nemo" else THRESHOLDS[embedder]
    akin = SemanticOptions(
        threshold=least, recall=semantic_recall, is_verified=embedder == "verified"
    )
    return Options(
        exact=(exact_text or text) if exact else None,
        near=nearly if near else None,
        semantic=akin if semantic else None,
        keep=keep,
    )


class Dedup:
    """The three measures over texts that come as a stream and are read again only where needed."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.digested = Digested(options.near)
        self.looked = Looked()
        self.seconds = dict.fromkeys(HOWS, 0.0)  # near's n-grams are made while exact's keys are

    def digest(self, blocks: Iterable[Buffer], engine: Engine) -> None:
        """Draws all texts and keeps what the measures need of them."""
        started = time.perf_counter()
        near = self.options.near
        for block in engine.map(digest, self._new_texts(blocks), near):
            self.digested.add(block)
        self.seconds["exact"] = time.perf_counter() - started

    def _new_texts(self, blocks: Iterable[Buffer]) -> Iterator[Buffer]:
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
            yield tidy.rows(first)

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
    dedup.digest(map(Buffer.of, blocks), engine)
    names = ids or [f"{row:012}" for row in range(len(texts))]
    read = Texts(lambda rows: (texts[row] for row in rows.tolist()), lambda: names, embeds)
    return dedup.judge(engine, read)


def digest(texts: Buffer, near: NearOptions | None) -> Digest:
    """Block work: grams, bands and sketches of normalized texts, each depending on its text alone.

    Nothing but room for them without `near`.
    """
    if near is None:
        n = len(texts)
        nothing, none = np.empty((0, n), np.uint32), np.zeros(n + 1, np.int64)
        return Digest(nothing.ravel(), none, nothing, np.zeros((n, SKETCH), np.uint64))
    grams, starts = gram_sets(texts, near.ngram, near.of)
    functions = hash_functions(near.bands, near.band_rows, near.seed)
    bands = band_keys(grams, starts, functions, near.bands)
    return Digest(grams, starts, bands, sketches(grams, starts))


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


def _representatives(digested: Digested, number: Array, keep: Keep, texts: Texts) -> Array:
    """(u,) the record that stands for each text: its first, its longest, or that of least id."""
    if keep == "first":
        return digested.rows.rows()
    by_id = _ranks(texts.ids())
    length = digested.lengths.rows() if keep == "longest" else np.zeros_like(by_id)
    order = np.lexsort((by_id, -length, number))
    _, first = np.unique(number[order], return_index=True)
    return order[first]


def _order(digested: Digested, rows: Array, keep: Keep, texts: Texts, akin: Akin) -> Array:
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
        example = gone[np.argmin(verdicts.score[gone])] if len(gone) else None
        counts.append(
            StageCount(
                how=how,
                seen=seen,
                removed=len(gone),
                example=None if example is None else verdicts.duplicate(int(example)),
            )
        )
        seen -= len(gone)
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
    return Verdicts(how=how, of=of, score=score)
