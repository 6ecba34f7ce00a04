"""Which texts stay: one after the other, each is compared with those that stayed before it.

A text goes for the first text (in the order given) that stays and is close enough to it: by the
true Jaccard similarity of their grams, if they share a bucket, else by an edge between them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled
from megastyle_cli.dedup.hash_index import KeySet
from megastyle_cli.dedup.hashing import mix

Array = npt.NDArray[Any]

_M1, _M2 = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_M4, _ONES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
_S1, _S2, _S4, _S32, _S56 = (np.uint64(n) for n in (1, 2, 4, 32, 56))
_LOW = np.uint64(0xFFFFFFFF)
_SEEDS = np.array([0xA0761D6478BD642F, 0xE7037ED1A0B428DB], np.uint64)


@dataclass(frozen=True)
class Sets:
    """The grams of n texts, sorted and distinct, and their sketches."""

    grams: Array  # (m,) uint32
    starts: Array  # (n + 1,) int64
    sketches: Array  # (n, SKETCH) uint64


@dataclass(frozen=True)
class Links:
    """What each of n texts is linked to: text i to `to[starts[i] : starts[i + 1]]`."""

    starts: Array  # (n + 1,) int64
    to: Array  # (m,) int32
    count: int  # of what is linked to
    scores: Array  # (m,) float64, or empty


def no_links(n: int) -> Links:
    """Nothing linked to anything."""
    return Links(np.zeros(n + 1, np.int64), np.empty(0, np.int32), 0, np.empty(0))


@dataclass(frozen=True)
class Shared:
    """The keys that several texts have in one band."""

    rows: Array  # (m,) int32: texts whose key is not theirs alone
    numbers: Array  # (m,) int32: of their keys
    members: Array  # (k, 2) uint64: what each key's texts, as a set, hash to


def shared_keys(keys: Array) -> Shared:
    """Of the keys (n,) uint32 of all texts in a band those that several have."""
    packed = keys.astype(np.uint64) << _S32
    packed |= np.arange(len(keys), dtype=np.uint64)
    packed.sort()
    rows, numbers = np.empty(len(keys), np.int32), np.empty(len(keys), np.int32)
    members = np.empty((len(keys) // 2, 2), np.uint64)
    found, count = _find_runs(packed, rows, numbers, members)
    return Shared(rows[:found].copy(), numbers[:found].copy(), members[:count].copy())


def buckets(bands: Iterable[Shared], n: int) -> Links:
    """Each of `n` texts linked to the buckets it stands in: one a set of texts that share a key.

    Texts that are much alike share a key in most bands; they meet in one bucket all the same.
    """
    known = KeySet()
    rows, numbers = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    for band in bands:
        before = len(known)
        bucket = known.add(band.members)[band.numbers]
        is_new = bucket >= before  # no two keys of a band have the same texts
        rows.append(band.rows[is_new])
        numbers.append(bucket[is_new])
    starts = np.zeros(n + 1, np.int64)
    for some in rows:
        _count_rows(some, starts)
    np.cumsum(starts, out=starts)
    to = np.empty(starts[-1], np.int32)
    ends = starts[:-1].copy()
    for some, theirs in zip(rows, numbers, strict=True):
        _fill_links(some, theirs, ends, to)
    return Links(starts, to, len(known), np.empty(0))


def settle(
    rows: Array, sets: Sets, near: Links, threshold: float, akin: Links, template: int = 0
) -> tuple[Array, Array, Array]:
    """What became of texts `rows` (m,), in the order they are tried: how, for whom, how close.

    `near` links texts to buckets, `akin` to other texts with a score; nothing outside `rows` is
    compared. Who stays is for itself. `template` is as in `jaccard`.
    """
    how = np.zeros(len(rows), np.uint8)
    of = rows.astype(np.int32)
    score = np.ones(len(rows))
    _settle(
        rows,
        sets.grams,
        sets.starts,
        sets.sketches,
        near.starts,
        near.to,
        near.count,
        threshold,
        template,
        akin.starts,
        akin.to,
        akin.scores,
        how,
        of,
        score,
    )
    return how, of, score


@compiled
def jaccard(grams: Array, starts: Array, one: int, two: int, template: int = 0) -> float:
    """The share of their distinct grams that two texts have in common.

    Up to `template` of those in common do not count if they are odd (see template.py).
    """
    at, end = starts[one], starts[one + 1]
    other, other_end = starts[two], starts[two + 1]
    total = (end - at) + (other_end - other)
    shared = marked = 0
    while at < end and other < other_end:
        a, b = grams[at], grams[other]
        shared += a == b
        marked += a == b and a & np.uint32(1) == 1
        at += a <= b
        other += b <= a
    less = min(marked, template)
    if total - shared == less:
        return 1.0  # nothing differs, and all of it is template
    return float((shared - less) / (total - shared - less))


@compiled
def _ones(word: Any) -> Any:
    """How many bits of a 64-bit word are set."""
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
    apart = np.uint64(0)
    for word in range(bits.shape[1]):
        apart += _ones(bits[one, word] ^ bits[two, word])
    # grams in one set only: (a + b)(1 - J)/(1 + J)
    return bool(apart * (1 + threshold) <= (a + b) * (1 - threshold) + 1e-9)


@compiled
def _settle(
    rows: Array,
    grams: Array,
    gram_starts: Array,
    bits: Array,
    near_starts: Array,
    near: Array,
    num_buckets: int,
    threshold: float,
    template: int,
    akin_starts: Array,
    akin: Array,
    akin_scores: Array,
    how: Array,
    of: Array,
    score: Array,
) -> None:
    n = len(near_starts) - 1
    # who stays of each bucket, side by side, so that most are passed over without a look elsewhere
    starts = _bucket_starts(near, num_buckets)
    ends = starts[:-1].copy()
    kept = np.empty(len(near), np.int32)
    kept_bits = np.empty(len(near), np.uint64)
    met = np.full(n, -1, np.int32)  # the last text that met this one
    places = np.full(n, -1, np.int32)  # of texts that stay, in `rows`
    found = np.empty(64, np.int32)
    for place in range(len(rows)):
        row = rows[place]
        first, end = near_starts[row], near_starts[row + 1]
        folded = _folded(bits[row])
        most = _most_apart(gram_starts[row + 1] - gram_starts[row], threshold)
        count = 0
        for link in range(first, end):
            bucket = near[link]
            for at in range(starts[bucket], ends[bucket]):
                if _ones(folded ^ kept_bits[at]) > most or met[kept[at]] == row:
                    continue
                other = kept[at]
                met[other] = row
                if _may_reach(bits, gram_starts, row, other, threshold):
                    if count == len(found):
                        found = np.append(found, np.empty(count, np.int32))
                    found[count] = places[other]
                    count += 1
        if count > 1:
            found[:count].sort()
        for i in range(count):
            other = rows[found[i]]
            similarity = jaccard(grams, gram_starts, row, other, template)
            if similarity >= threshold:
                how[place], of[place], score[place] = 1, other, similarity
                break
        if how[place] == 0:
            for link in range(akin_starts[row], akin_starts[row + 1]):
                if places[akin[link]] >= 0:
                    how[place], of[place], score[place] = 2, akin[link], akin_scores[link]
                    break
        if how[place] == 0:
            places[row] = place
            for link in range(first, end):
                at = ends[near[link]]
                kept[at], kept_bits[at] = row, folded
                ends[near[link]] = at + 1


@compiled
def _bucket_starts(near: Array, num_buckets: int) -> Array:
    starts = np.zeros(num_buckets + 1, np.int64)
    for bucket in near:
        starts[bucket + 1] += 1
    for bucket in range(num_buckets):
        starts[bucket + 1] += starts[bucket]
    return starts


@compiled
def _folded(bits: Array) -> Any:
    """A sketch of half as many places, or a quarter: of which the same holds."""
    folded = np.uint64(0)
    for word in bits:
        folded |= word
    return folded


@compiled
def _most_apart(size: int, threshold: float) -> Any:
    """In how many grams a set of `size` and one of Jaccard similarity `threshold` can differ."""
    # the other is at most size / J large, and they differ in (a + b)(1 - J)/(1 + J)
    if threshold * 64 <= size * (1 - threshold):
        return np.uint64(64)  # as many places as there are
    return np.uint64(size * (1 - threshold) / threshold + 1e-9)


@compiled
def _find_runs(packed: Array, rows: Array, numbers: Array, members: Array) -> tuple[int, int]:
    """Rows (the low halves), numbers and hashes of the runs of two and more equal high halves."""
    found = count = at = 0
    while at < len(packed):
        key = packed[at] >> _S32
        end = at + 1
        while end < len(packed) and packed[end] >> _S32 == key:
            end += 1
        if end - at > 1:
            one = two = np.uint64(0)
            for place in range(at, end):
                row = packed[place] & _LOW
                one, two = one + mix(row + _SEEDS[0]), two + mix(row + _SEEDS[1])
                rows[found] = np.int32(row)
                numbers[found] = count
                found += 1
            members[count, 0], members[count, 1] = one, two
            count += 1
        at = end
    return found, count


@compiled
def _count_rows(rows: Array, starts: Array) -> None:
    for row in rows:
        starts[row + 1] += 1


@compiled
def _fill_links(rows: Array, numbers: Array, ends: Array, to: Array) -> None:
    for at in range(len(rows)):
        to[ends[rows[at]]] = numbers[at]
        ends[rows[at]] += 1
