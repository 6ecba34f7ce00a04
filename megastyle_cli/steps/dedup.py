"""Duplicate texts: the same, nearly the same, or the same in meaning; one of each stays.

One rule for all three: the texts are tried in order, and one is a duplicate if it is close enough
to a text *kept* before it. So every keeper is itself kept and itself close, and distinct texts are
never chained away through the texts between them. Ours; the three measures are those of
NeMo-Curator (exact, MinHash, embeddings), which joins by chains and verifies no candidate.

Texts come in blocks and are not held: of each distinct one, its key, its grams and its bands are.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from megastyle_cli.choices import DedupPreset, ExactText, GramOf
from megastyle_cli.engines.engine import Engine
from megastyle_cli.steps.keyset import KeySet
from megastyle_cli.steps.minhash import SKETCH, band_keys, hash_functions, sketches
from megastyle_cli.steps.neighbors import Pairs, closest_cosines, neighbors
from megastyle_cli.steps.settle import Links, Sets, buckets, no_links, settle, shared_keys
from megastyle_cli.steps.shingles import (
    gram_sets,
    keys_of,
    normalized_buffer,
    raw_buffer,
)

Array = npt.NDArray[Any]
Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]
Read = Callable[[Array], Iterator[str]]  # the texts at these rows
How = Literal["exact", "near", "semantic"]
HOWS: tuple[How, ...] = ("exact", "near", "semantic")  # the order they are tried in

BLOCK = 4096  # texts digested, or embedded, at a time


@dataclass(frozen=True, kw_only=True)
class NearOptions:
    """The share of n-grams in common (Jaccard) from which two texts are nearly the same.

    `bands` x `band_rows` MinHash values find the candidates, which are then compared themselves:
    a pair of similarity s is a candidate with probability 1 - (1 - s**band_rows)**bands. With
    threshold 0 candidates are not compared.
    """

    threshold: float = 0.7
    ngram: int = 1
    of: GramOf = "words"
    bands: int = 32
    band_rows: int = 8
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class SemanticOptions:
    """The cosine from which two texts mean the same; what is right depends on the embedder.

    The default is for the static embedder, where sentences of one template that differ in one
    attribute reach 0.983; free captions bear 0.86, and MiniLM 0.95 on them (ours, measured).
    """

    threshold: float = 0.99


@dataclass(frozen=True, kw_only=True)
class Options:
    """The measures asked for; None for one that is not."""

    exact: ExactText | None = "normalized"
    near: NearOptions | None = None
    semantic: SemanticOptions | None = None

    def told(self) -> dict[str, Any]:
        """All that can change a verdict, as options of a run."""
        return asdict(self)


# exact, near and semantic of each; `nemo` has the numbers of NeMo-Curator 1.x
PRESETS: dict[DedupPreset, tuple[ExactText, NearOptions, SemanticOptions]] = {
    "styles": ("normalized", NearOptions(), SemanticOptions()),
    "contents": ("normalized", NearOptions(threshold=0.75, ngram=2), SemanticOptions()),
    "nemo": (
        "raw",
        NearOptions(threshold=0.0, ngram=24, of="characters", bands=20, band_rows=13, seed=42),
        SemanticOptions(threshold=0.99),
    ),
}


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

    def staying(self) -> Iterable[int]:
        """The records that stay."""
        rows: list[int] = np.flatnonzero(self.how == 0).tolist()
        return rows

    def gone(self) -> Iterable[int]:
        """The records that go."""
        rows: list[int] = np.flatnonzero(self.how).tolist()
        return rows

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
    """All that is kept of a block of texts."""

    lengths: Array  # (n,) int32, bytes
    keys: Array  # (n, 2) uint64
    grams: Array  # (m,) uint32
    starts: Array  # (n + 1,) int64
    bands: Array  # (bands, n) uint32
    sketches: Array  # (n, SKETCH) uint64


@dataclass
class Digested:
    """All that is kept of n records with u distinct texts, numbered as they came."""

    numbers: list[Array] = field(default_factory=list)  # the text of each record
    lengths: list[Array] = field(default_factory=list)
    rows: list[Array] = field(default_factory=list)  # the first record of each text
    grams: list[Array] = field(default_factory=list)
    sizes: list[Array] = field(default_factory=list)  # grams of each text
    bands: list[Array] = field(default_factory=list)
    sketches: list[Array] = field(default_factory=list)
    num_records: int = 0
    num_texts: int = 0

    def add(self, block: Digest, numbers: Array) -> None:
        """A block more; `numbers` (n,) are those of its texts, new ones counting on."""
        first = np.flatnonzero(numbers >= self.num_texts)
        is_new = np.zeros(len(numbers), bool)
        is_new[first[np.unique(numbers[first], return_index=True)[1]]] = True
        self.numbers.append(numbers)
        self.lengths.append(block.lengths)
        self.rows.append(np.flatnonzero(is_new) + self.num_records)
        sizes = np.diff(block.starts)
        self.grams.append(block.grams[np.repeat(is_new, sizes)])
        self.sizes.append(sizes[is_new].astype(np.int32))
        self.bands.append(np.ascontiguousarray(block.bands[:, is_new]))
        self.sketches.append(block.sketches[is_new])
        self.num_records += len(numbers)
        self.num_texts += int(is_new.sum())

    def sets(self) -> Sets:
        """The grams of all texts; they are held nowhere else from here on."""
        starts = np.zeros(self.num_texts + 1, np.int64)
        np.cumsum(_joined(self.sizes, np.int32), out=starts[1:])
        grams = _joined(self.grams, np.uint32)
        self.grams = []
        return Sets(
            grams, starts, np.concatenate([np.empty((0, SKETCH), np.uint64), *self.sketches])
        )

    def band_keys(self) -> Iterator[Array]:
        """(u,) uint32 for each band."""
        for band in range(len(self.bands[0]) if self.bands else 0):
            yield np.concatenate([block[band] for block in self.bands])
        self.bands = []


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
) -> Options:
    """The preset's values, but for those that are given."""
    text, nearly, akin = PRESETS[preset]
    given = {"threshold": near_threshold, "ngram": ngram, "of": ngram_of}
    nearly = replace(nearly, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    if semantic_threshold is not None:
        akin = replace(akin, threshold=semantic_threshold)
    return Options(
        exact=(exact_text or text) if exact else None,
        near=nearly if near else None,
        semantic=akin if semantic else None,
    )


class Dedup:
    """The three measures over texts that come as a stream and are read again only where needed."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.digested = Digested()

    def digest(self, texts: Iterable[str], engine: Engine) -> None:
        """Draws all texts and keeps what the measures need of them."""
        options, known = self.options, KeySet()
        for block in engine.map(digest, _blocks(texts), options.exact, options.near):
            if options.exact:
                numbers = known.add(block.keys)
            else:
                start = self.digested.num_texts
                numbers = np.arange(start, start + len(block.keys), dtype=np.int32)
            self.digested.add(block, numbers)

    def judge(self, engine: Engine, *, read: Read, embed: Embed | None) -> Verdicts:
        """What becomes of every record. `read` and `embed` are needed for `semantic` only.

        `embed` gives unit rows (n, d), each depending on its text alone.
        """
        near, semantic = self.options.near, self.options.semantic
        return judge(self.digested, engine, near=near, semantic=semantic, embed=embed, read=read)


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    drawn = iter(texts)
    while block := list(islice(drawn, BLOCK)):
        yield block


def find_duplicates(
    texts: Sequence[str],
    engine: Engine,
    *,
    exact: ExactText | None = "normalized",
    near: NearOptions | None = None,
    semantic: SemanticOptions | None = None,
    embed: Embed | None = None,
) -> list[Duplicate]:
    """The duplicates among `texts` in memory, each with the first kept text close enough to it."""
    dedup = Dedup(Options(exact=exact, near=near, semantic=semantic))
    dedup.digest(texts, engine)

    def read(rows: Array) -> Iterator[str]:
        return (texts[row] for row in rows.tolist())

    return list(dedup.judge(engine, read=read, embed=embed))


def digest(texts: Sequence[str], exact: ExactText | None, near: NearOptions | None) -> Digest:
    """Block work: keys, grams and bands of `texts`, each depending on its text alone."""
    n = len(texts)
    tidy = normalized_buffer(texts)
    keys = keys_of(raw_buffer(texts) if exact == "raw" else tidy)
    lengths = np.fromiter(map(len, texts), np.int32, n)
    if near is None:
        nothing = np.empty((0, n), np.uint32)
        none = np.zeros(n + 1, np.int64)
        return Digest(lengths, keys, nothing[:, 0], none, nothing, np.zeros((n, SKETCH), np.uint64))
    grams, starts = gram_sets(tidy, near.ngram, near.of)
    functions = hash_functions(near.bands, near.band_rows, near.seed)
    bands = band_keys(grams, starts, functions, near.bands)
    return Digest(lengths, keys, grams, starts, bands, sketches(grams, starts))


def judge(
    digested: Digested,
    engine: Engine,
    *,
    near: NearOptions | None,
    semantic: SemanticOptions | None,
    embed: Embed | None,
    read: Read,
) -> Verdicts:
    """What becomes of every record. `read` and `embed` are needed for `semantic` only.

    `embed` gives unit rows (n, d), each depending on its text alone.
    """
    number = _joined(digested.numbers, np.int32)
    rows = _joined(digested.rows, np.int64)
    links = no_links(digested.num_texts)
    if near is not None:
        shared = list(engine.map(shared_keys, digested.band_keys()))
        links = buckets(shared, digested.num_texts)
        del shared
    sets = digested.sets()
    order = np.arange(digested.num_texts, dtype=np.int32)
    threshold = near.threshold if near else 1.0
    akin = _Akin(digested.num_texts, semantic.threshold if semantic else 2.0)
    while True:
        how, of, score = settle(order, sets, links, threshold, akin.links(order))
        if semantic is None:
            break
        assert embed is not None, "semantic needs embed"
        waiting = order[(how == 0) & ~akin.is_met[order]]
        if len(waiting) == 0 and not akin.look_further(order, how):
            break
        akin.meet(waiting, _embedded(waiting, rows, read, embed), engine)
    return _of_records(number, rows, order, how, of, score)


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


class _Akin:
    """The texts met by their vectors, and which of them are close."""

    def __init__(self, n: int, threshold: float) -> None:
        self.threshold = threshold
        self.is_met = np.zeros(n, bool)
        self.texts = np.empty(0, np.int32)  # in the order met
        self.vectors = np.empty((0, 0), np.float32)  # theirs
        self.is_cut = np.empty(0, bool)  # whether a text has neighbours that it does not name
        self.pairs: list[tuple[Array, Array, Array]] = []

    def meet(self, texts: Array, vectors: Array, engine: Engine) -> None:
        """Compare these with each other and with all met before."""
        if len(texts) == 0:
            return
        before = len(self.texts)
        self.is_met[texts] = True
        self.texts = np.append(self.texts, texts)
        self.vectors = np.concatenate([self.vectors, vectors]) if before else vectors
        found: Pairs = neighbors(self.vectors, before, self.threshold, engine)
        self.is_cut = np.append(self.is_cut, found.is_cut)
        self.pairs.append((self.texts[found.one], self.texts[found.two], found.score))

    def look_further(self, order: Array, how: Array) -> bool:
        """Whether a text that stays is close to one that stays before it, which it did not name."""
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        at = place[self.texts]
        stays = how[at] == 0
        news = []
        for row in np.flatnonzero(self.is_cut & stays):
            bank = np.flatnonzero(stays & (at < at[row]))
            cosines = closest_cosines(self.vectors[row], self.vectors[bank])
            hits = np.flatnonzero(cosines >= self.threshold)
            if len(hits):
                hit = hits[np.argmin(at[bank[hits]])]
                news.append((self.texts[row], self.texts[bank[hit]], cosines[hit]))
        if news:
            one, two, score = zip(*news, strict=True)
            self.pairs.append((np.array(one), np.array(two), np.array(score)))
        return bool(news)

    def links(self, order: Array) -> Links:
        """Each text linked to the close ones tried before it, in the order tried."""
        n = len(self.is_met)
        if not self.pairs:
            return no_links(n)
        one, two, score = (np.concatenate(parts) for parts in zip(*self.pairs, strict=True))
        place = np.empty(n, np.int64)
        place[order] = np.arange(n)
        later = np.where(place[one] > place[two], one, two)
        earlier = np.where(place[one] > place[two], two, one)
        by = np.lexsort((place[earlier], later))
        starts = np.zeros(n + 1, np.int64)
        np.cumsum(np.bincount(later, minlength=n), out=starts[1:])
        return Links(starts, earlier[by].astype(np.int32), n, score[by])


def _embedded(texts: Array, rows: Array, read: Read, embed: Embed) -> Array:
    blocks = []
    for start in range(0, len(texts), BLOCK):
        some = list(read(rows[texts[start : start + BLOCK]]))
        blocks.append(embed(some))
    return np.concatenate(blocks) if blocks else np.empty((0, 0), np.float32)


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


def _joined(parts: list[Array], kind: Any) -> Array:
    return np.concatenate([np.empty(0, kind), *parts])
