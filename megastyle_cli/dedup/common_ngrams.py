"""Common n-grams: words of the template that texts were made from, which say little when shared.

Captions of twenty words made from one template share half of them with every other caption and
differ in the one word that matters. Common n-grams therefore count only where two texts differ
(see `near.jaccard`). Ours.
"""

from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled

Array = npt.NDArray[Any]

# Common n-grams ignored per pair. The limit lets variants of one long text still be duplicates.
MAX_IGNORED = 20
_MIN_TEXTS = 3  # an n-gram in fewer texts than this is never common, however few texts there are
_SHIFT = 10
_BUCKETS = 1 << (32 - _SHIFT)


def mark_common(hashes: Array, num_texts: int, share: float) -> None:
    """Sets the lowest bit of each hash that at least `share` of the texts have; clears the others.

    `hashes` (m,) uint32 are the distinct n-gram hashes of every text, concatenated. They are
    changed in place, stay sorted, and equal ones stay equal. Occurrences are counted by the upper
    22 bits. The result does not depend on the order of the texts.
    """
    counts = np.zeros(_BUCKETS, np.int32)
    _count(hashes, counts)
    _mark(hashes, counts, max(_MIN_TEXTS, ceil(share * num_texts)))


@compiled
def _count(hashes: Array, counts: Array) -> None:
    for ngram in hashes:
        counts[ngram >> np.uint32(_SHIFT)] += 1


@compiled
def _mark(hashes: Array, counts: Array, min_count: int) -> None:
    for at in range(len(hashes)):
        ngram = hashes[at]
        is_common = counts[ngram >> np.uint32(_SHIFT)] >= min_count
        hashes[at] = (ngram & np.uint32(0xFFFFFFFE)) | np.uint32(is_common)
