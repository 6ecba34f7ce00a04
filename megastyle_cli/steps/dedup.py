"""Duplicate texts: the same, nearly the same, or the same in meaning; the first is kept.

One rule for all three: the records are taken in order, and one is a duplicate if it is close
enough to a record *kept* before it. So every keeper is itself kept and itself close, and distinct
texts are never chained away through the texts between them. Ours; the three measures are those of
NeMo-Curator (exact, MinHash, embeddings), which joins by chains and verifies no candidate.
"""

import re
import unicodedata
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Literal

import faiss
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]
How = Literal["exact", "near", "semantic"]
HOWS: tuple[How, ...] = ("exact", "near", "semantic")  # the order they are tried in

# Scripts written without spaces count each character as a word; so does a symbol beyond ASCII.
_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s!-/:-@\[-`{{-~]")
_BLOCK = 1024  # texts embedded and compared at a time
_SLACK = 1e-5  # float32 cosines err by less; what passes is scored again in float64


@dataclass(frozen=True, kw_only=True)
class Duplicate:
    """Record number `row` repeats the kept record number `of`; `score` in [0, 1], 1 is equal."""

    row: int
    of: int
    how: How
    score: float


@dataclass(frozen=True, kw_only=True)
class NearOptions:
    """The share of word n-grams in common (Jaccard) from which two texts are nearly the same.

    `bands` x `band_rows` MinHash values find the candidates, which are then compared themselves:
    a pair of similarity s is a candidate with probability 1 - (1 - s**band_rows)**bands.
    The defaults are ours. They join prompts of 35 to 45 words that differ by a word or two or by
    the order of two clauses; one changed word among up to seven makes another text.
    """

    threshold: float = 0.75
    ngram: int = 2
    bands: int = 32
    band_rows: int = 5


@dataclass(frozen=True, kw_only=True)
class SemanticOptions:
    """The cosine from which two texts mean the same; what is right depends on the embedder.

    The default is for the static embedder, where sentences of one template that differ in one
    attribute reach 0.983; free captions bear 0.86, and MiniLM 0.95 on them (ours, measured).
    """

    threshold: float = 0.99


@dataclass(frozen=True, kw_only=True)
class StageCount:
    """How many records one measure saw and removed, and the least alike pair it joined."""

    how: How
    seen: int
    removed: int
    example: Duplicate | None


def find_duplicates(
    texts: Sequence[str],
    *,
    exact: bool = True,
    near: NearOptions | None = None,
    semantic: SemanticOptions | None = None,
    embed: Embed | None = None,
) -> list[Duplicate]:
    """The duplicates among `texts` by row, each with the first kept text close enough to it.

    Each text is tried exactly, then nearly, then by meaning. `embed` (needed for `semantic`) gives
    unit rows (n, d), each depending on its text alone; it is shown normalised texts.
    """
    if not texts:
        return []
    first = first_of_each(texts) if exact else np.arange(len(texts))
    rows = np.flatnonzero(first == np.arange(len(texts))).tolist()  # the texts not seen before
    verdicts = {
        rows[found.row]: replace(found, row=rows[found.row], of=rows[found.of])
        for found in _find_similar([normalized(texts[row]) for row in rows], near, semantic, embed)
    }
    for row in np.flatnonzero(first != np.arange(len(texts))).tolist():
        # a copy meets the end of its first, which may itself have gone for an earlier text
        like = Duplicate(row=row, of=int(first[row]), how="exact", score=1.0)
        verdicts[row] = replace(verdicts.get(like.of, like), row=row)
    return [verdicts[row] for row in sorted(verdicts)]


def count_stages(
    duplicates: Sequence[Duplicate], seen: int, hows: Iterable[How]
) -> list[StageCount]:
    """What each measure in `hows` did to `seen` records, in order; each sees what the last left."""
    counts = []
    for how in hows:
        removed = [found for found in duplicates if found.how == how]
        example = min(removed, key=lambda found: (found.score, found.row), default=None)
        counts.append(StageCount(how=how, seen=seen, removed=len(removed), example=example))
        seen -= len(removed)
    return counts


def normalized(text: str) -> str:
    """`text` in Unicode form NFKC, case-folded, each run of white space one space, ends trimmed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def first_of_each(texts: Iterable[str]) -> Array:
    """(n,) int: the row of the first text that is equal when normalised, its own if none was."""
    rows: dict[bytes, int] = {}
    keys = (_digest(normalized(text), 16) for text in texts)
    return np.array([rows.setdefault(key, row) for row, key in enumerate(keys)], np.int64)


def _find_similar(
    texts: Sequence[str],
    near: NearOptions | None,
    semantic: SemanticOptions | None,
    embed: Embed | None,
) -> Iterator[Duplicate]:
    """Each text that is near or akin to one kept before it, with the first such."""
    by_words = _NearFinder(texts, near) if near else None
    by_meaning = _SemanticFinder(semantic.threshold) if semantic else None
    for start in range(0, len(texts), _BLOCK):
        block = range(start, min(start + _BLOCK, len(texts)))
        if by_meaning:
            assert embed is not None, "semantic needs embed"
            # what is settled already needs no vector, and embedding is the dear part
            rows = [row for row in block if not (by_words and by_words.match(row))]
            if rows:
                by_meaning.meet(rows, embed([texts[row] for row in rows]))
        for row in block:
            found = (by_words and by_words.match(row)) or (by_meaning and by_meaning.match(row))
            if found:
                yield found
                continue
            if by_words:
                by_words.keep(row)
            if by_meaning:
                by_meaning.keep(row)


class _NearFinder:
    """The kept texts by their MinHash bands, and the n-grams to compare a text with them."""

    def __init__(self, texts: Sequence[str], options: NearOptions) -> None:
        hashes, self.starts = gram_sets(texts, options.ngram)
        self.buckets = _shared_bands(hashes, self.starts, options.bands, options.band_rows)
        kinds, self.grams = np.unique(hashes, return_inverse=True)
        self.sizes = np.diff(self.starts)
        self.in_text = np.zeros(len(kinds), bool)  # scratch: which grams the text at hand has
        self.threshold = options.threshold
        self.kept: defaultdict[int, list[int]] = defaultdict(list)  # bucket -> rows

    def match(self, row: int) -> Duplicate | None:
        """The first kept text whose Jaccard similarity to text `row` reaches the threshold."""
        met = {at for bucket in self._buckets(row) for at in self.kept.get(bucket, ())}
        if not met:
            return None
        rows = np.array(sorted(met))
        scores = self._jaccard(row, rows)
        hits = np.flatnonzero(scores >= self.threshold)
        if not hits.size:
            return None
        best = hits[0]
        return Duplicate(row=row, of=int(rows[best]), how="near", score=float(scores[best]))

    def keep(self, row: int) -> None:
        """Let later texts match text `row`."""
        for bucket in self._buckets(row):
            self.kept[bucket].append(row)

    def _buckets(self, row: int) -> list[int]:
        shared: list[int] = self.buckets[row][self.buckets[row] >= 0].tolist()
        return shared

    def _jaccard(self, row: int, others: Array) -> Array:
        """(m,) float64: the grams text `row` shares with each of `others` (m,), over all."""
        own = self.grams[self.starts[row] : self.starts[row + 1]]
        sizes = self.sizes[others]
        ends = np.cumsum(sizes)
        places = np.arange(ends[-1]) + np.repeat(self.starts[others] - (ends - sizes), sizes)
        self.in_text[own] = True
        shared = np.add.reduceat(self.in_text[self.grams[places]], ends - sizes, dtype=np.int64)
        self.in_text[own] = False
        overlap: Array = shared / (len(own) + sizes - shared)
        return overlap


class _SemanticFinder:
    """The vectors of kept texts; a block of texts is met at once, then matched one by one."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.index: Any = None  # faiss: vectors of the texts kept before this block
        self.indexed: list[int] = []  # their rows
        self.rows: list[int] = []  # the rows of this block
        self.vectors: Array = np.empty((0, 0), np.float32)
        self.is_kept: Array = np.empty(0, bool)

    def meet(self, rows: list[int], vectors: Array) -> None:
        """Compare texts `rows`, unit `vectors` (n, d), with the kept ones and with each other."""
        if self.index is None:
            self.index = faiss.IndexFlatIP(vectors.shape[1])
        self.index.add(self.vectors[self.is_kept].reshape(-1, vectors.shape[1]))
        self.indexed += [row for row, kept in zip(self.rows, self.is_kept, strict=True) if kept]
        self.rows, self.vectors, self.is_kept = rows, vectors, np.zeros(len(rows), bool)
        self.place = {row: place for place, row in enumerate(rows)}
        floor = self.threshold - _SLACK
        self.limits, _, self.before = self.index.range_search(vectors, floor)
        self.beside = vectors @ vectors.T >= floor  # (n, n)

    def match(self, row: int) -> Duplicate | None:
        """The first kept text whose cosine with text `row`, to 6 places, reaches the threshold."""
        place = self.place[row]
        before = np.sort(self.before[self.limits[place] : self.limits[place + 1]])
        beside = np.flatnonzero(self.beside[place] & self.is_kept)
        bank = np.concatenate([self.index.reconstruct_batch(before), self.vectors[beside]])
        # rounded, since a float32 unit vector is off by 1e-7 even from itself
        scores = np.round(bank.astype(np.float64) @ self.vectors[place].astype(np.float64), 6)
        hits = np.flatnonzero(scores >= self.threshold)
        if not hits.size:
            return None
        rows = [self.indexed[at] for at in before] + [self.rows[at] for at in beside]
        score = min(1.0, float(scores[hits[0]]))
        return Duplicate(row=row, of=rows[hits[0]], how="semantic", score=score)

    def keep(self, row: int) -> None:
        """Let later texts match text `row`."""
        self.is_kept[self.place[row]] = True


def gram_sets(texts: Sequence[str], ngram: int) -> tuple[Array, Array]:
    """The distinct word n-grams of every text as flat 64-bit hashes, and (n + 1,) their starts.

    `texts` must not be empty. A text of fewer words is one gram, and a text without words counts
    itself as a word, so no set is empty. The hashes depend on the text alone.
    """
    hash_of = _WordHashes()
    words, lengths = array("Q"), []
    for text in texts:
        found = _WORD.findall(text) or [text]
        found += [""] * (ngram - len(found))
        words.extend(map(hash_of.__getitem__, found))
        lengths.append(len(found))
    flat = np.frombuffer(words, np.uint64)
    owner = np.repeat(np.arange(len(lengths)), lengths)  # the text each word stands in
    last = len(flat) - ngram + 1
    grams = flat[:last]
    for step in range(1, ngram):
        grams = _mix(grams) + flat[step : last + step]
    inside = owner[:last] == owner[ngram - 1 :]
    grams, owner = _mix(grams)[inside], owner[:last][inside]
    order = np.lexsort((grams, owner))
    grams, owner = grams[order], owner[order]
    is_new = np.append(True, (grams[1:] != grams[:-1]) | (owner[1:] != owner[:-1]))
    counts = np.bincount(owner[is_new], minlength=len(lengths))
    return grams[is_new], np.append(0, np.cumsum(counts))


def _shared_bands(hashes: Array, starts: Array, bands: int, band_rows: int) -> Array:
    """(n, bands) int: the bucket of each text in each band of MinHash values, -1 if it is alone."""
    draws = _mix(np.arange(1, 2 * bands * band_rows + 1, dtype=np.uint64)).reshape(2, bands, -1)
    factors, offsets = draws[0] | np.uint64(1), draws[1]
    n = len(starts) - 1
    buckets = np.zeros((n, bands), np.uint64)
    for low in range(0, n, _BLOCK):
        high = min(low + _BLOCK, n)
        block, places = hashes[starts[low] : starts[high]], starts[low:high] - starts[low]
        for band in range(bands):
            for factor, offset in zip(factors[band], offsets[band], strict=True):
                least = np.minimum.reduceat(block * factor + offset, places)
                buckets[low:high, band] = _mix(buckets[low:high, band] + least)
    numbers = np.empty((n, bands), np.int64)
    for band in range(bands):
        _, number, count = np.unique(buckets[:, band], return_inverse=True, return_counts=True)
        numbers[:, band] = np.where(count[number] > 1, number + band * n, -1)
    return numbers


class _WordHashes(dict[str, int]):
    """A 64-bit hash of each word asked for, made once."""

    def __missing__(self, word: str) -> int:
        self[word] = int.from_bytes(_digest(word, 8), "little")
        return self[word]


def _digest(text: str, size: int) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()


def _mix(values: Array) -> Array:
    """Every bit of each 64-bit value spread over all its bits. Source: SplitMix64, Steele 2014."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = values ^ (values >> np.uint64(31))
    return mixed
