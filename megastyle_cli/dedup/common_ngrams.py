"""Words of a template that texts were made from: many have them, so sharing them says little.

Ours: a caption of twenty words made from one template shares half of them with every other, and
differs from its neighbours in the one word that matters. Such words count only where they differ.
"""

from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled

Array = npt.NDArray[Any]

WORDS = 20  # of a text that are its template at most, so that variants of one long text still meet
_LEAST = 3  # texts that have a word of the template, however few texts there are
_SHIFT = 10
_BUCKETS = 1 << (32 - _SHIFT)


def mark_template(grams: Array, num_texts: int, share: float) -> None:
    """Sets the lowest bit of each gram that at least `share` of the texts have; clears all others.

    `grams` (m,) uint32 holds the distinct grams of every text, flat; they stay in order, and equal
    ones equal. Grams are counted by their upper 22 bits. The order of texts changes nothing.
    """
    counts = np.zeros(_BUCKETS, np.int32)
    _count(grams, counts)
    _mark(grams, counts, max(_LEAST, ceil(share * num_texts)))


@compiled
def _count(grams: Array, counts: Array) -> None:
    for gram in grams:
        counts[gram >> np.uint32(_SHIFT)] += 1


@compiled
def _mark(grams: Array, counts: Array, least: int) -> None:
    for at in range(len(grams)):
        gram = grams[at]
        is_common = counts[gram >> np.uint32(_SHIFT)] >= least
        grams[at] = (gram & np.uint32(0xFFFFFFFE)) | np.uint32(is_common)
