"""All that `dedup` keeps of texts: keys, grams, bands and sketches, never the words themselves."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.dedup.config import NearOptions
from megastyle_cli.dedup.growable_array import Growing
from megastyle_cli.dedup.minhash import SKETCH, band_keys, hash_functions, sketches
from megastyle_cli.dedup.ngrams import gram_sets
from megastyle_cli.dedup.selection import Sets

Array = npt.NDArray[Any]


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
        self.numbers = Growing(np.int32)  # the text of each record
        self.lengths = Growing(np.int32)
        self.rows = Growing(np.int64)  # the first record of each text
        self.grams = Growing(np.uint32)
        self.sizes = Growing(np.int32)  # grams of each text
        bands = 0 if near is None else near.bands
        self.bands = [np.empty((bands, 0), np.uint32)]  # each block's; one piece is slow to grow
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
        # Ray's are a view of the whole block, which would stay with it
        self.bands.append(np.require(block.bands, requirements="O"))
        self.sketches.extend(block.sketches)

    def band_keys(self) -> Iterator[Array]:
        """(u,) uint32 for each band; none is held any more after the last."""
        for band in range(len(self.bands[0])):
            yield np.concatenate([block[band] for block in self.bands])
        self.bands.clear()

    def sets(self) -> Sets:
        """The grams of all texts."""
        starts = np.zeros(self.num_texts + 1, np.int64)
        np.cumsum(self.sizes.rows(), out=starts[1:])
        return Sets(self.grams.rows(), starts, self.sketches.rows())


def digest(texts: StringArray, near: NearOptions | None) -> Digest:
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
