"""Texts to sets of n-grams: the sorted distinct 32-bit hashes of each.

Everything runs over one buffer of bytes a block. What a text gives depends on it alone.
"""

import re
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled
from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.core.choices import NgramUnit
from megastyle_cli.dedup.hashing import load, mix

Array = npt.NDArray[Any]

# Scripts written without spaces count each character as a word; so does a symbol beyond ASCII.
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_PUNCTUATION = re.compile(r"[!-/:-@\[-^`{-~]")
_APART, _IN_WORD, _ALONE = 0, 1, 2  # what a character is: between words, part of one, a word
_PLACES = 0x110000
_FEW = 64  # grams that are sorted by comparing all with all

_S32, _ALL = np.uint64(32), np.uint64(0xFFFFFFFFFFFFFFFF)


def gram_sets(buffer: StringArray, ngram: int, of: NgramUnit = "words") -> tuple[Array, Array]:
    """The distinct n-grams of every text as flat sorted 32-bit hashes, and (n + 1,) their starts.

    A text of fewer words (characters) is one gram, and a text without words counts itself as a
    word, so no set is empty. Two distinct grams share a hash with probability 2**-32.
    """
    grams = np.empty(len(buffer.data) + len(buffer), np.uint32)
    starts = np.zeros(len(buffer) + 1, np.int64)
    kinds = _kinds(_PLACES if buffer.data.size and buffer.data.max() > 127 else 128)
    data = np.append(buffer.data, np.zeros(8, np.uint8))  # words are read by eight bytes
    used = _hash_grams(data, buffer.starts, kinds, ngram, of == "words", grams, starts)
    return grams[:used].copy(), starts


@cache
def _kinds(places: int) -> Array:
    """(places,) uint8: what each of the first characters is to a word."""
    kinds = np.full(places, _ALONE, np.uint8)
    every = "".join(map(chr, range(places)))
    kinds[[char.isalnum() or char == "_" for char in every]] = _IN_WORD
    kinds[[char.isspace() for char in every]] = _APART
    kinds[[found.start() for found in _UNSPACED.finditer(every)]] = _ALONE
    kinds[[found.start() for found in _PUNCTUATION.finditer(every)]] = _APART
    return kinds


@compiled
def _hash_grams(
    data: Array, starts: Array, kinds: Array, ngram: int, by_words: bool, out: Array, ends: Array
) -> int:
    """Fills `out` with the sorted distinct grams of each text, `ends` with where they end."""
    longest = 0
    for row in range(len(starts) - 1):
        longest = max(longest, starts[row + 1] - starts[row])
    edges = np.empty(2 * longest + 2, np.int64)
    units = np.empty(longest + ngram, np.uint64)
    places, by_place = np.empty(_FEW, np.int32), np.empty(_FEW, np.uint32)
    is_taken = np.empty(_FEW, np.bool_)
    used = 0
    for row in range(len(starts) - 1):
        start, end = starts[row], starts[row + 1]
        if by_words:
            count = _words(data, start, end, kinds, edges, units)
        else:
            count = _characters(data[start:end], units)
        if count == 0:  # nothing but punctuation: one word of it
            units[0] = _hash_word(data, start, end)
            count = 1
        while count < ngram:
            units[count] = np.uint64(0)
            count += 1
        grams = out[used : used + count - ngram + 1]
        for start in range(len(grams)):
            gram = units[start]
            for step in range(1, ngram):
                gram = mix(gram) + units[start + step]
            grams[start] = np.uint32(mix(gram) >> _S32)
        used += _sort_distinct(grams, places, by_place, is_taken)
        ends[row + 1] = used
    return used


@compiled
def _words(data: Array, start: int, end: int, kinds: Array, edges: Array, units: Array) -> int:
    """Fills `units` with the hashed words of the text `data[start:end]`. How many they are.

    `edges` has room for where words begin and end.
    """
    found: int = _ascii_edges(data, start, end, kinds, edges)
    if found < 0:
        found = _any_edges(data, start, end, kinds, edges)
    for word in range(found // 2):
        units[word] = _hash_word(data, edges[2 * word], edges[2 * word + 1])
    return found // 2


@compiled
def _ascii_edges(data: Array, start: int, end: int, kinds: Array, edges: Array) -> int:
    """Where words begin and end, in turn; how many edges, or -1 if not all is plain ASCII."""
    found = 0
    bytes_seen = kinds_seen = was = np.uint8(0)
    text = data[start:end]
    for at in range(len(text)):  # no branch that nobody could foresee
        now = kinds[text[at] & 127]
        edges[np.uint64(found)] = start + at
        found += now != was
        was = now
        bytes_seen |= text[at]
        kinds_seen |= now
    if bytes_seen > 127 or kinds_seen & _ALONE:
        return -1
    edges[found] = end
    return found + int(was != _APART)


@compiled
def _any_edges(data: Array, start: int, end: int, kinds: Array, edges: Array) -> int:
    found = 0
    at = start
    was = _APART
    while at < end:
        begun = at
        char: Any = np.int64(data[at])
        at += 1
        if char >= 0xC0:
            char, at = _beyond_ascii(data, begun)
        now = kinds[char]
        if was == _IN_WORD and now != _IN_WORD:
            edges[found] = begun
            found += 1
        if now == _ALONE or (now == _IN_WORD and was != _IN_WORD):
            edges[found] = begun
            found += 1
        if now == _ALONE:
            edges[found] = at
            found += 1
        was = now
    if was == _IN_WORD:
        edges[found] = end
        found += 1
    return found


@compiled
def _hash_word(data: Array, start: int, end: int) -> Any:
    """A hash of the bytes of a word, eight at a time; eight bytes more than the texts can be read.

    No part is read byte by byte, since a loop of unforeseen length costs more than all the rest.
    """
    hashed = np.uint64(end - start)
    if start == end:
        return mix(hashed)
    at = start
    while at + 8 < end:
        hashed = mix(hashed ^ load(data[at : at + 8]))
        at += 8
    # what follows the word is cut off
    word = load(data[at : at + 8]) & (_ALL >> np.uint64(8 * (at + 8 - end)))
    return mix(mix(hashed) ^ word)


@compiled
def _characters(text: Array, units: Array) -> int:
    """Fills `units` with the hashed characters of a text. How many they are."""
    count = at = 0
    while at < len(text):
        char: Any = np.int64(text[at])
        at += 1
        if char >= 0xC0:
            char, at = _beyond_ascii(text, at - 1)
        units[count] = mix(np.uint64(char + 1))
        count += 1
    return count


@compiled
def _beyond_ascii(text: Array, at: int) -> tuple[Any, int]:
    """The character that two to four bytes from `at` stand for, and where the next begins."""
    first: Any = np.int64(text[at])
    size = 2 + (first >= 0xE0) + (first >= 0xF0)
    char = first & (0x7F >> size)
    for step in range(1, size):
        char = (char << 6) | (np.int64(text[at + step]) & 63)
    return char, at + size


@compiled
def _sort_distinct(values: Array, places: Array, by_place: Array, is_taken: Array) -> int:
    """Sorts in place; the distinct values stand first. How many they are.

    The others are room for `_FEW`.
    """
    n = len(values)
    if n > _FEW:
        values.sort()
        by_place, is_taken = values.copy(), np.ones(n, np.bool_)
        for at in range(1, n):
            is_taken[at] = values[at] != values[at - 1]
    else:
        # each to the place that the number of smaller ones tells, many compared at once
        for at in range(n):
            smaller = np.int32(0)
            for other in range(n):
                smaller += np.int32(values[other] < values[at])
            places[at] = smaller
        is_taken[:n] = False
        for at in range(n):
            by_place[places[at]] = values[at]
            is_taken[places[at]] = True
    kept = 0
    for at in range(n):
        values[kept] = by_place[at]
        kept += is_taken[at]
    return kept
