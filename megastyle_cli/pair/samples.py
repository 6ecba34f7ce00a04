"""`random.Random(text).sample(range(n), k)` for many texts at once, number for number the same.

Seeding that generator takes 1,247 steps, each from the one before, for the few numbers of a sample.
Here the steps of thousands of generators are taken together. Source: `init_by_array` and the
generator of Matsumoto and Nishimura (MT19937), and `random.py` of the standard library.
"""

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from math import ceil, log
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled, is_plain
from megastyle_cli.core.record import batched

Array = npt.NDArray[Any]

_STATE, _SHIFT = 624, 397
_WORDS = _STATE - _SHIFT  # that need no number of the new state
_TOGETHER = 4096
_LANES = 16  # generators whose steps a processor takes at a time
_S1, _S7, _S11, _S15, _S18, _S30 = map(np.uint32, (1, 7, 11, 15, 18, 30))
_FIRST_FACTOR, _SECOND_FACTOR = np.uint32(1664525), np.uint32(1566083941)
_UPPER, _LOWER, _TWIST = np.uint32(0x80000000), np.uint32(0x7FFFFFFF), np.uint32(0x9908B0DF)
_SECOND_MASK, _FIRST_MASK = np.uint32(0x9D2C5680), np.uint32(0xEFC60000)


def samples(texts: Iterable[str], n: int, k: int) -> Iterator[Array]:
    """For each text the k numbers (k,) int32 of `random.Random(text).sample(range(n), k)`.

    n is at most 2**31.
    """
    for some in batched(texts, _TOGETHER):
        drawn = np.full((len(some), k), -1, np.int32)
        if _takes_any_number(n, k) and not is_plain():
            _draw_together(some, n, drawn)
        for row in np.flatnonzero(drawn[:, -1] < 0) if k else ():
            drawn[row] = random.Random(some[row]).sample(range(n), k)
        yield from drawn


def _takes_any_number(n: int, k: int) -> bool:
    """Whether `sample` draws numbers below n until k differ, as it does unless n is small."""
    listed = 21 + (4 ** ceil(log(k * 3, 4)) if k > 5 else 0)
    return n > listed and 0 < k <= _WORDS // 4


def _draw_together(texts: Sequence[str], n: int, drawn: Array) -> None:
    """Fills in the rows of `drawn` (g, k) whose first numbers below n all differ."""
    contents = [text.encode() for text in texts]
    seeds = [content + hashlib.sha512(content).digest() for content in contents]
    lengths = np.array(list(map(len, seeds)))
    k = drawn.shape[1]
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        keys = _keys([seeds[row] for row in rows], length)
        if keys is None:
            continue
        # each word is below n with a probability of a half at least
        words = np.empty((4 * k, keys.shape[1]), np.uint32)
        _first_words(keys, _fixed_state(), words)
        numbers = (words[:, : len(rows)] >> np.uint32(32 - n.bit_length())).T
        is_below = numbers < n
        order = np.argsort(~is_below, axis=1, kind="stable")[:, :k]
        first = np.take_along_axis(numbers, order, axis=1)
        has_enough = is_below.sum(axis=1) >= k
        ascending = np.sort(first, axis=1)
        differ = (ascending[:, 1:] != ascending[:, :-1]).all(axis=1)
        is_done = has_enough & differ
        drawn[rows[is_done]] = first[is_done]


def _keys(seeds: list[bytes], length: int) -> Array | None:
    """The words (w, g) uint32 of numbers of `length` bytes, lowest first, as seeds are given.

    g is rounded up to a multiple of `_LANES`. None if some number has fewer words, or too many.
    """
    num_words = -(-length // 4)
    if num_words > _STATE or any(seed.startswith(b"\0") for seed in seeds):
        return None
    padding = bytes(4 * num_words - length)
    together = b"".join([padding + seed for seed in seeds])
    words = np.frombuffer(together, ">u4").reshape(len(seeds), num_words)
    keys = np.zeros((num_words, -(-len(seeds) // _LANES) * _LANES), np.uint32)
    keys[:, : len(seeds)] = words.T[::-1]
    return keys


@compiled
def _first_words(keys: Array, fixed: Array, out: Array) -> None:
    """The first outputs `out` (words, g) of generators seeded with `keys` (length, g).

    `fixed` (624,) is the state that seeding starts from, g a multiple of `_LANES`.
    """
    state = np.empty((_STATE, _LANES), np.uint32)
    before = np.empty(_LANES, np.uint32)
    length = len(keys)
    for first in range(0, keys.shape[1], _LANES):
        for row in range(_STATE):
            state[row] = fixed[row]
        before[:] = fixed[0]
        at, part = 1, 0
        for step in range(_STATE + _STATE - 1):
            row = state[at]
            if step < _STATE:
                key = keys[part, first : first + _LANES]
                for lane in range(_LANES):
                    mixed = (before[lane] ^ (before[lane] >> _S30)) * _FIRST_FACTOR
                    before[lane] = (row[lane] ^ mixed) + key[lane] + np.uint32(part)
                part = part + 1 if part + 1 < length else 0
            else:
                for lane in range(_LANES):
                    mixed = (before[lane] ^ (before[lane] >> _S30)) * _SECOND_FACTOR
                    before[lane] = (row[lane] ^ mixed) - np.uint32(at)
            row[:] = before
            at += 1
            if at == _STATE:
                at = 1  # what follows is computed from the last one, as from a copy of it at 0
        state[0] = _UPPER
        for word in range(len(out)):
            low, high, far = state[word], state[word + 1], state[word + _SHIFT]
            to = out[word, first : first + _LANES]
            for lane in range(_LANES):
                joined = (low[lane] & _UPPER) | (high[lane] & _LOWER)
                value = far[lane] ^ (joined >> _S1) ^ ((joined & _S1) * _TWIST)
                value ^= value >> _S11
                value ^= (value << _S7) & _SECOND_MASK
                value ^= (value << _S15) & _FIRST_MASK
                to[lane] = value ^ (value >> _S18)


@cache
def _fixed_state() -> Array:
    """The state (624,) after `init_genrand(19650218)`."""
    state = [19650218]
    for at in range(1, _STATE):
        state.append((1812433253 * (state[-1] ^ (state[-1] >> 30)) + at) & 0xFFFFFFFF)
    return np.array(state, np.uint32)
