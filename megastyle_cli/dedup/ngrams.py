"""Sets of word or character n-grams of texts, as sorted distinct 32-bit hashes.

All functions work on whole blocks of texts. What they return for a text depends on it alone, but
for `mark_common`: captions of twenty words made from one template share half of them with every
other caption and differ in the one word that matters. Common n-grams therefore count only where
two texts differ (see `near.jaccard`). Ours.
"""

import re
from functools import cache
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled, is_plain
from megastyle_cli.compute.string_array import StringArray, load_word, mix
from megastyle_cli.dedup import plain
from megastyle_cli.dedup.options import NgramUnit

Array = npt.NDArray[Any]

_UNSPACED, _PUNCTUATION = re.compile(f"[{plain.UNSPACED}]"), re.compile(f"[{plain.PUNCTUATION}]")
_SEPARATOR, _IN_WORD, _SINGLE = 0, 1, 2  # classes of characters; _SINGLE: a word by itself
_NUM_CODE_POINTS = 0x110000
_SMALL = 64  # sets up to this size are sorted by comparing all pairs

# Common n-grams ignored per pair. The limit lets variants of one long text still be duplicates.
MAX_IGNORED = 20
_MIN_TEXTS = 3  # an n-gram in fewer texts than this is never common, however few texts there are
_SHIFT = 10

_S32, _ALL = np.uint64(32), np.uint64(0xFFFFFFFFFFFFFFFF)


def ngram_sets(texts: StringArray, ngram: int, of: NgramUnit = "words") -> tuple[Array, Array]:
    """The distinct n-grams of each text: sorted hashes (m,) uint32, concatenated, and their starts.

    Starts are (n + 1,) int64. A text of fewer than `ngram` words (characters) is one n-gram, and a
    text without words is one word, so no set is empty. Two distinct n-grams have the same hash
    with probability 2**-32.
    """
    if is_plain():
        return plain.ngram_sets(texts, ngram, of)
    hashes = np.empty(len(texts.data) + len(texts), np.uint32)
    starts = np.zeros(len(texts) + 1, np.int64)
    is_ascii = not texts.data.size or texts.data.max() < 128
    classes = _character_classes(128 if is_ascii else _NUM_CODE_POINTS)
    data = np.append(texts.data, np.zeros(8, np.uint8))  # words are read eight bytes at a time
    used = _hash_ngrams(data, texts.starts, classes, ngram, of == "words", hashes, starts)
    return hashes[:used].copy(), starts


def mark_common(hashes: Array, num_texts: int, share: float) -> None:
    """Sets the lowest bit of each hash that at least `share` of the texts have; clears the others.

    `hashes` (m,) uint32 are the distinct n-gram hashes of every text, concatenated. They are
    changed in place, stay sorted, and equal ones stay equal. Occurrences are counted by the upper
    22 bits. The result does not depend on the order of the texts.
    """
    min_count = max(_MIN_TEXTS, ceil(share * num_texts))
    if is_plain():
        buckets = hashes >> np.uint32(_SHIFT)
        is_common = np.bincount(buckets, minlength=1)[buckets] >= min_count
        hashes &= np.uint32(0xFFFFFFFE)
        hashes |= is_common
        return
    _mark(hashes, np.zeros(1 << (32 - _SHIFT), np.int32), min_count)


@cache
def _character_classes(count: int) -> Array:
    """The class of each of the first `count` code points, (count,) uint8."""
    classes = np.full(count, _SINGLE, np.uint8)
    characters = "".join(map(chr, range(count)))
    classes[[char.isalnum() or char == "_" for char in characters]] = _IN_WORD
    classes[[char.isspace() for char in characters]] = _SEPARATOR
    classes[[found.start() for found in _UNSPACED.finditer(characters)]] = _SINGLE
    classes[[found.start() for found in _PUNCTUATION.finditer(characters)]] = _SEPARATOR
    return classes


@compiled
def _hash_ngrams(
    data: Array, starts: Array, classes: Array, ngram: int, by_words: bool, out: Array, ends: Array
) -> int:
    """Fills `out` with the sorted distinct n-grams of each text and `ends` with their ends."""
    longest = 0
    for row in range(len(starts) - 1):
        longest = max(longest, starts[row + 1] - starts[row])
    edges = np.empty(2 * longest + 2, np.int64)
    units = np.empty(longest + ngram, np.uint64)
    ranks, by_rank = np.empty(_SMALL, np.int32), np.empty(_SMALL, np.uint32)
    is_used = np.empty(_SMALL, np.bool_)
    used = 0
    for row in range(len(starts) - 1):
        start, end = starts[row], starts[row + 1]
        if by_words:
            count = _words(data, start, end, classes, edges, units)
        else:
            count = _characters(data[start:end], units)
        if count == 0:  # nothing but punctuation: one word
            units[0] = _hash_word(data, start, end)
            count = 1
        while count < ngram:
            units[count] = np.uint64(0)
            count += 1
        hashes = out[used : used + count - ngram + 1]
        for start in range(len(hashes)):
            hashed = units[start]
            for step in range(1, ngram):
                hashed = mix(hashed) + units[start + step]
            hashes[start] = np.uint32(mix(hashed) >> _S32)
        used += _sort_distinct(hashes, ranks, by_rank, is_used)
        ends[row + 1] = used
    return used


@compiled
def _words(data: Array, start: int, end: int, classes: Array, edges: Array, units: Array) -> int:
    """Fills `units` with the hashes of the words of `data[start:end]`; returns their number.

    `edges` is scratch space for the starts and ends of words.
    """
    found: int = _ascii_edges(data, start, end, classes, edges)
    if found < 0:
        found = _utf8_edges(data, start, end, classes, edges)
    for word in range(found // 2):
        units[word] = _hash_word(data, edges[2 * word], edges[2 * word + 1])
    return found // 2


@compiled
def _ascii_edges(data: Array, start: int, end: int, classes: Array, edges: Array) -> int:
    """Fills `edges` with the start and end of each word; returns their number, -1 if not ASCII."""
    found = 0
    bytes_seen = classes_seen = before = np.uint8(0)
    text = data[start:end]
    for at in range(len(text)):  # without branches: they would be mispredicted at every word
        now = classes[text[at] & 127]
        edges[np.uint64(found)] = start + at
        found += now != before
        before = now
        bytes_seen |= text[at]
        classes_seen |= now
    if bytes_seen > 127 or classes_seen & _SINGLE:
        return -1
    edges[found] = end
    return found + int(before != _SEPARATOR)


@compiled
def _utf8_edges(data: Array, start: int, end: int, classes: Array, edges: Array) -> int:
    """As `_ascii_edges`, for any text."""
    found = 0
    at = start
    before = _SEPARATOR
    while at < end:
        char_start = at
        char: Any = np.int64(data[at])
        at += 1
        if char >= 0xC0:
            char, at = _decode_multibyte(data, char_start)
        now = classes[char]
        if before == _IN_WORD and now != _IN_WORD:
            edges[found] = char_start
            found += 1
        if now == _SINGLE or (now == _IN_WORD and before != _IN_WORD):
            edges[found] = char_start
            found += 1
        if now == _SINGLE:
            edges[found] = at
            found += 1
        before = now
    if before == _IN_WORD:
        edges[found] = end
        found += 1
    return found


@compiled
def _hash_word(data: Array, start: int, end: int) -> Any:
    """A hash of the bytes `data[start:end]`, read eight at a time; `data` is padded by eight.

    A loop over the remaining bytes would have an unpredictable length and cost more than the rest.
    """
    hashed = np.uint64(end - start)
    if start == end:
        return mix(hashed)
    at = start
    while at + 8 < end:
        hashed = mix(hashed ^ load_word(data[at : at + 8]))
        at += 8
    # mask out the bytes after the word
    word = load_word(data[at : at + 8]) & (_ALL >> np.uint64(8 * (at + 8 - end)))
    return mix(mix(hashed) ^ word)


@compiled
def _characters(text: Array, units: Array) -> int:
    """Fills `units` with the hashes of the characters of a text; returns their number."""
    count = at = 0
    while at < len(text):
        char: Any = np.int64(text[at])
        at += 1
        if char >= 0xC0:
            char, at = _decode_multibyte(text, at - 1)
        units[count] = mix(np.uint64(char + 1))
        count += 1
    return count


@compiled
def _decode_multibyte(text: Array, at: int) -> tuple[Any, int]:
    """The code point encoded by the two to four bytes at `at`, and the position after them."""
    first: Any = np.int64(text[at])
    size = 2 + (first >= 0xE0) + (first >= 0xF0)
    char = first & (0x7F >> size)
    for step in range(1, size):
        char = (char << 6) | (np.int64(text[at + step]) & 63)
    return char, at + size


@compiled
def _sort_distinct(values: Array, ranks: Array, by_rank: Array, is_used: Array) -> int:
    """Sorts `values` in place, distinct values first; returns their number.

    The other arrays are scratch space of `_SMALL` elements.
    """
    n = len(values)
    if n > _SMALL:
        _radix_sort(values)
        kept = 1
        for at in range(1, n):
            values[kept] = values[at]
            kept += values[at] != values[kept - 1]
        return kept
    # the rank of a value is the number of smaller ones: comparisons that vectorize
    for at in range(n):
        smaller = np.int32(0)
        for other in range(n):
            smaller += np.int32(values[other] < values[at])
        ranks[at] = smaller
        is_used[at] = False
    for at in range(n):
        by_rank[ranks[at]] = values[at]
        is_used[ranks[at]] = True
    kept = 0
    for at in range(n):
        values[kept] = by_rank[at]
        kept += is_used[at]
    return kept


@compiled
def _radix_sort(values: Array) -> None:
    """Sorts `values`: numba takes two seconds to compile its own sort."""
    source, target = values, np.empty(len(values), np.uint32)
    for shift in range(0, 32, 8):
        ends = np.zeros(257, np.int64)
        for value in source:
            ends[((value >> np.uint32(shift)) & np.uint32(255)) + 1] += 1
        for digit in range(256):
            ends[digit + 1] += ends[digit]
        for value in source:
            digit = (value >> np.uint32(shift)) & np.uint32(255)
            target[ends[digit]] = value
            ends[digit] += 1
        source, target = target, source


@compiled
def _mark(hashes: Array, counts: Array, min_count: int) -> None:
    for ngram in hashes:
        counts[ngram >> np.uint32(_SHIFT)] += 1
    for at in range(len(hashes)):
        ngram = hashes[at]
        is_common = counts[ngram >> np.uint32(_SHIFT)] >= min_count
        hashes[at] = (ngram & np.uint32(0xFFFFFFFE)) | np.uint32(is_common)
