"""Signatures and the greedy choice in plain Python: the bytes of compiled code, for small inputs.

Also the definition of what compiled code has to give (see `compute.jit`).
"""

import re
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.string_array import StringArray, mix
from megastyle_cli.dedup.options import NgramUnit

if TYPE_CHECKING:
    from megastyle_cli.dedup.near import AdjacencyList, NgramSets

Array = npt.NDArray[Any]

# Runs of letters and digits; and any other character by itself that is neither white space nor
# punctuation, as is each character of a script written without spaces.
UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
PUNCTUATION = r"!-/:-@\[-^`{-~"
_WORDS = re.compile(rf"[^\W{UNSPACED}]+|[{UNSPACED}]|[^\w\s{PUNCTUATION}]")
_AT_ONCE = 4096  # n-grams whose hashes are made together

Selection = tuple[list[int], list[int], list[float]]


def text_keys(texts: StringArray) -> Array:
    """A 128-bit key of each text, (n, 2) uint64."""
    keys = b"".join(blake2b(text, digest_size=16).digest() for text in texts)
    return np.frombuffer(keys, np.uint64).reshape(-1, 2)


def ngram_sets(texts: StringArray, ngram: int, of: NgramUnit) -> tuple[Array, Array]:
    """As `ngrams.ngram_sets`."""
    sets = [_ngram_set(text, ngram, of) for text in texts]
    starts = np.zeros(len(sets) + 1, np.int64)
    np.cumsum([len(one) for one in sets], out=starts[1:])
    return np.concatenate([np.empty(0, np.uint32), *sets]), starts


def _ngram_set(text: bytes, ngram: int, of: NgramUnit) -> Array:
    decoded = text.decode("utf-8", "surrogatepass")
    if of == "words":
        units = np.array([_word_hash(word) for word in _WORDS.findall(decoded)], np.uint64)
    else:
        units = mix(np.array([*map(ord, decoded)], np.uint64) + np.uint64(1))
    if not len(units):
        units = np.array([_bytes_hash(text)], np.uint64)
    units = np.append(units, np.zeros(max(0, ngram - len(units)), np.uint64))
    count = len(units) - ngram + 1
    hashed = units[:count]
    for step in range(1, ngram):
        hashed = mix(hashed) + units[step : step + count]
    return np.array(sorted({*(mix(hashed) >> np.uint64(32)).tolist()}), np.uint32)


@lru_cache(1 << 14)
def _word_hash(word: str) -> int:
    return _bytes_hash(word.encode("utf-8", "surrogatepass"))


def _bytes_hash(word: bytes) -> int:
    padded = np.frombuffer(word + bytes(-len(word) % 8), "<u8")
    hashed = np.array([len(word)], np.uint64)  # not a scalar: arrays wrap around in silence
    for eight in padded[:-1]:
        hashed = mix(hashed ^ eight)
    return int((mix(mix(hashed) ^ padded[-1]) if word else mix(hashed))[0])


def least_hashes(hashes: Array, starts: Array, factors: Array, offsets: Array) -> Array:
    """The minimum of each hash function over the n-grams of each text, (n, functions) uint32."""
    least = np.full((len(starts) - 1, len(factors)), 0xFFFFFFFF, np.uint32)
    for text in range(len(least)):
        for low in range(starts[text], starts[text + 1], _AT_ONCE):
            some = hashes[low : min(low + _AT_ONCE, starts[text + 1]), None]
            np.minimum(least[text], (some * factors + offsets).min(axis=0), out=least[text])
    return least


def select(
    order: Array,
    ngrams: "NgramSets",
    buckets: "AdjacencyList",
    threshold: float,
    max_ignored: int,
    links: "AdjacencyList",
) -> Selection:
    """Stage, text and similarity for each of `order`, as `near.select_greedily`."""
    hashes, edges = ngrams.hashes.tolist(), ngrams.starts.tolist()
    sets = [frozenset(hashes[low:high]) for low, high in zip(edges[:-1], edges[1:], strict=True)]
    kept: dict[int, list[int]] = {}  # by bucket: positions in `order`, ascending
    positions: dict[int, int] = {}  # of kept texts
    visited = order.tolist()
    chosen: list[tuple[int, int, float]] = []
    for position, row in enumerate(visited):
        own = buckets.targets[buckets.starts[row] : buckets.starts[row + 1]].tolist()
        candidates = sorted({other for bucket in own for other in kept.get(bucket, ())})
        found = (0, row, 1.0)
        for other in (visited[at] for at in candidates):
            similarity = jaccard(sets[row], sets[other], max_ignored)
            if similarity >= threshold:
                found = (2, other, similarity)
                break
        else:
            for link in range(links.starts[row], links.starts[row + 1]):
                if int(links.targets[link]) in positions:
                    found = (3, int(links.targets[link]), float(links.scores[link]))
                    break
        if found[0] == 0:
            positions[row] = position
            for bucket in own:
                kept.setdefault(bucket, []).append(position)
        chosen.append(found)
    stages, others, scores = zip(*chosen, strict=True) if chosen else ((), (), ())
    return [*stages], [*others], [*scores]


def jaccard(one: frozenset[int], other: frozenset[int], max_ignored: int) -> float:
    """As `near.jaccard`, of two sets."""
    shared = one & other
    total = len(one) + len(other)
    ignored = min(sum(ngram & 1 for ngram in shared), max_ignored) if max_ignored else 0
    if total - len(shared) == ignored:
        return 1.0
    return (len(shared) - ignored) / (total - len(shared) - ignored)
