"""Near duplicates: LSH buckets, exact Jaccard similarity, and the greedy choice of texts to keep.

Texts are visited in a given order. A text is dropped in favour of the first kept text that shares a
bucket with it and whose n-grams have a Jaccard similarity above the threshold, or else that a
semantic link connects it to.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled, is_plain
from megastyle_cli.compute.string_array import mix
from megastyle_cli.dedup import plain
from megastyle_cli.dedup.config import NearConfig
from megastyle_cli.dedup.exact import HashIndex
from megastyle_cli.dedup.ngrams import MAX_IGNORED

Array = npt.NDArray[Any]

_M1, _M2 = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_M4, _ONES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
_S1, _S2, _S4, _S32, _S56 = (np.uint64(n) for n in (1, 2, 4, 32, 56))
_LOW = np.uint64(0xFFFFFFFF)
_SEEDS = np.array([0xA0761D6478BD642F, 0xE7037ED1A0B428DB], np.uint64)

# texts visited between two looks at Ctrl-C, which compiled code does not see
_BLOCK = 1000
_NEAR, _SEMANTIC = 2, 3  # stage numbers, as in `deduplicate.STAGES`


@dataclass(frozen=True)
class NgramSets:
    """The n-gram sets of n texts, as sorted distinct hashes, and their sketches."""

    hashes: Array  # (m,) uint32
    starts: Array  # (n + 1,) int64
    sketches: Array  # (n, SKETCH_WORDS) uint64


@dataclass(frozen=True)
class AdjacencyList:
    """Links of n texts: those of text i lead to `targets[starts[i] : starts[i + 1]]`."""

    starts: Array  # (n + 1,) int64
    targets: Array  # (m,) int32
    num_targets: int  # targets are below this
    scores: Array  # (m,) float64, or empty

    @classmethod
    def empty(cls, n: int) -> "AdjacencyList":
        """`n` texts without links."""
        return cls(np.zeros(n + 1, np.int64), np.empty(0, np.int32), 0, np.empty(0))


@dataclass(frozen=True)
class BandBuckets:
    """The buckets of one band that hold two or more texts."""

    rows: Array  # (m,) int32: the texts in such buckets
    buckets: Array  # (m,) int32: the bucket of each
    content_keys: Array  # (k, 2) uint64: a hash of the set of texts in each bucket


def band_buckets(keys: Array) -> BandBuckets:
    """The buckets of a band, from the key (n,) uint32 of each text in it."""
    packed = keys.astype(np.uint64) << _S32
    packed |= np.arange(len(keys), dtype=np.uint64)
    packed.sort()
    rows, buckets = np.empty(len(keys), np.int32), np.empty(len(keys), np.int32)
    content_keys = np.empty((len(keys) // 2, 2), np.uint64)
    found, count = _find_runs(packed, rows, buckets, content_keys)
    return BandBuckets(rows[:found].copy(), buckets[:found].copy(), content_keys[:count].copy())


def merge_bands(bands: Iterable[BandBuckets], n: int) -> AdjacencyList:
    """Links each of `n` texts to its buckets in all bands; buckets of the same texts are merged.

    Very similar texts share a key in most bands, but still meet in one bucket only.
    """
    known = HashIndex()
    rows, buckets = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    for band in bands:
        before = len(known)
        bucket = known.add(band.content_keys)[band.buckets]
        is_new = bucket >= before  # two buckets of one band never hold the same texts
        rows.append(band.rows[is_new])
        buckets.append(bucket[is_new])
    starts = np.zeros(n + 1, np.int64)
    for part in rows:
        _count_rows(part, starts)
    np.cumsum(starts, out=starts)
    targets = np.empty(starts[-1], np.int32)
    ends = starts[:-1].copy()
    for part, part_buckets in zip(rows, buckets, strict=True):
        _fill_targets(part, part_buckets, ends, targets)
    return AdjacencyList(starts, targets, len(known), np.empty(0))


def select_greedily(
    order: Array,
    ngrams: NgramSets,
    buckets: AdjacencyList,
    near: NearConfig | None,
    links: AdjacencyList,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[Array, Array, Array]:
    """Keeps the first text of every group of near or semantic duplicates.

    Texts are visited in `order` (m,) int32; texts outside it are ignored. A text is dropped if its
    Jaccard similarity to an already kept text in one of its `buckets` is at least that of
    `near`, or if one of `links` leads to a kept text. There is no chaining through dropped texts.
    Returns (m,) arrays: the stage that dropped the text (0: kept,
    2: near, 3: semantic), the text it duplicates (itself if kept), and the similarity in [0, 1].
    `advance` is called with the number of texts visited since its last call.
    """
    threshold = near.threshold if near else 1.0
    max_ignored = MAX_IGNORED if near and near.template else 0
    if is_plain():
        chosen = plain.select(order, ngrams, buckets, threshold, max_ignored, links)
        types = (np.uint8, np.int32, np.float64)
        stage, duplicate_of, score = map(np.array, chosen, types)
        return stage, duplicate_of, score
    stage = np.zeros(len(order), np.uint8)
    duplicate_of = order.astype(np.int32)
    score = np.ones(len(order))
    # the kept texts of each bucket with their sketches, contiguous: most are rejected from there
    starts = np.zeros(buckets.num_targets + 1, np.int64)
    _count_rows(buckets.targets, starts)
    np.cumsum(starts, out=starts)
    ends = starts[:-1].copy()
    kept = np.empty(len(buckets.targets), np.int32)
    kept_bits = np.empty(len(buckets.targets), np.uint64)
    n = len(buckets.starts) - 1
    compared_with = np.full(n, -1, np.int32)  # the last text that each text was compared with
    positions = np.full(n, -1, np.int32)  # of kept texts in `order`
    candidates = np.empty(n, np.int32)
    for begin in range(0, len(order), _BLOCK):
        _select(
            order,
            begin,
            min(begin + _BLOCK, len(order)),
            ngrams.hashes,
            ngrams.starts,
            ngrams.sketches,
            buckets.starts,
            buckets.targets,
            starts,
            ends,
            kept,
            kept_bits,
            compared_with,
            positions,
            candidates,
            threshold,
            max_ignored,
            links.starts,
            links.targets,
            links.scores,
            stage,
            duplicate_of,
            score,
        )
        advance(min(_BLOCK, len(order) - begin))
    return stage, duplicate_of, score


@compiled
def jaccard(hashes: Array, starts: Array, one: int, two: int, max_ignored: int = 0) -> float:
    """The Jaccard similarity of the n-gram sets of texts `one` and `two`.

    Up to `max_ignored` shared n-grams are left out if they are odd, the mark of common n-grams
    (see `ngrams.mark_common`).
    """
    at, end = starts[one], starts[one + 1]
    other, other_end = starts[two], starts[two + 1]
    total = (end - at) + (other_end - other)
    shared = marked = 0
    while at < end and other < other_end:
        a, b = hashes[at], hashes[other]
        shared += a == b
        marked += a == b and a & np.uint32(1) == 1
        at += a <= b
        other += b <= a
    ignored = min(marked, max_ignored)
    if total - shared == ignored:
        return 1.0  # equal sets of common n-grams
    return float((shared - ignored) / (total - shared - ignored))


@compiled
def _popcount(word: Any) -> Any:
    """The number of bits set in a 64-bit word."""
    word = word - ((word >> _S1) & _M1)
    word = (word & _M2) + ((word >> _S2) & _M2)
    word = (word + (word >> _S4)) & _M4
    return (word * _ONES) >> _S56


@compiled
def _may_reach(bits: Array, starts: Array, one: int, two: int, threshold: float) -> bool:
    """Whether sketches and sizes allow a Jaccard similarity J of `threshold`."""
    a, b = starts[one + 1] - starts[one], starts[two + 1] - starts[two]
    if min(a, b) < threshold * max(a, b) - 1e-9:
        return False
    different = np.uint64(0)
    for word in range(bits.shape[1]):
        different += _popcount(bits[one, word] ^ bits[two, word])
    # n-grams in one set only: (a + b)(1 - J)/(1 + J)
    return bool(different * (1 + threshold) <= (a + b) * (1 - threshold) + 1e-9)


@compiled
def _select(
    order: Array,
    begin: int,
    stop: int,
    hashes: Array,
    ngram_starts: Array,
    bits: Array,
    bucket_starts: Array,
    buckets: Array,
    starts: Array,
    ends: Array,
    kept: Array,
    kept_bits: Array,
    compared_with: Array,
    positions: Array,
    candidates: Array,
    threshold: float,
    max_ignored: int,
    link_starts: Array,
    links: Array,
    link_scores: Array,
    stage: Array,
    duplicate_of: Array,
    score: Array,
) -> None:
    """Visits `order[begin:stop]`; what it keeps is added to `kept`, `ends` and `positions`."""
    for position in range(begin, stop):
        row = order[position]
        first, end = bucket_starts[row], bucket_starts[row + 1]
        folded = _fold(bits[row])
        limit = _max_different(ngram_starts[row + 1] - ngram_starts[row], threshold)
        count = 0
        for link in range(first, end):
            bucket = buckets[link]
            for at in range(starts[bucket], ends[bucket]):
                if _popcount(folded ^ kept_bits[at]) > limit or compared_with[kept[at]] == row:
                    continue
                other = kept[at]
                compared_with[other] = row
                if _may_reach(bits, ngram_starts, row, other, threshold):
                    candidates[count] = positions[other]
                    count += 1
        _sort(candidates[:count])
        for i in range(count):
            other = order[candidates[i]]
            similarity = jaccard(hashes, ngram_starts, row, other, max_ignored)
            if similarity >= threshold:
                stage[position], duplicate_of[position] = _NEAR, other
                score[position] = similarity
                break
        if stage[position] == 0:
            for link in range(link_starts[row], link_starts[row + 1]):
                if positions[links[link]] >= 0:
                    stage[position], duplicate_of[position] = _SEMANTIC, links[link]
                    score[position] = link_scores[link]
                    break
        if stage[position] == 0:
            positions[row] = position
            for link in range(first, end):
                at = ends[buckets[link]]
                kept[at], kept_bits[at] = row, folded
                ends[buckets[link]] = at + 1


@compiled
def _sort(values: Array) -> None:
    """Shell's sort, in place: most often of a few values, and numba's own compiles for seconds."""
    gap = len(values)
    while gap > 1:
        gap = max(1, gap * 5 // 11)
        for at in range(gap, len(values)):
            value = values[at]
            while at >= gap and values[at - gap] > value:
                values[at] = values[at - gap]
                at -= gap
            values[at] = value


@compiled
def _fold(bits: Array) -> Any:
    """A sketch folded to 64 bits, which differs in at most as many bits as the sketch."""
    folded = np.uint64(0)
    for word in bits:
        folded |= word
    return folded


@compiled
def _max_different(size: int, threshold: float) -> Any:
    """The most n-grams in which a set of `size` and one of Jaccard similarity J can differ."""
    # the other set has at most size / J n-grams, and they differ in (a + b)(1 - J)/(1 + J)
    if threshold * 64 <= size * (1 - threshold):
        return np.uint64(64)  # all bits of a folded sketch
    return np.uint64(size * (1 - threshold) / threshold + 1e-9)


@compiled
def _find_runs(packed: Array, rows: Array, buckets: Array, content_keys: Array) -> tuple[int, int]:
    """Runs of two or more equal keys in `packed`: keys in the high halves, rows in the low ones.

    Returns the number of rows and of buckets written.
    """
    found = count = at = 0
    while at < len(packed):
        key = packed[at] >> _S32
        end = at + 1
        while end < len(packed) and packed[end] >> _S32 == key:
            end += 1
        if end - at > 1:
            one = two = np.uint64(0)
            for member in range(at, end):
                row = packed[member] & _LOW
                one, two = one + mix(row + _SEEDS[0]), two + mix(row + _SEEDS[1])
                rows[found] = np.int32(row)
                buckets[found] = count
                found += 1
            content_keys[count, 0], content_keys[count, 1] = one, two
            count += 1
        at = end
    return found, count


@compiled
def _count_rows(rows: Array, starts: Array) -> None:
    for row in rows:
        starts[row + 1] += 1


@compiled
def _fill_targets(rows: Array, buckets: Array, ends: Array, targets: Array) -> None:
    for at in range(len(rows)):
        targets[ends[rows[at]]] = buckets[at]
        ends[rows[at]] += 1
