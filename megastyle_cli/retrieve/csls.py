"""Cosines calibrated by how crowded both sides are, so that hubs are nobody's neighbour by default.

Source: Conneau et al. 2018 (arXiv 1710.04087), section 2.3, cross-domain similarity local scaling.
"""

import numpy as np

from megastyle_cli.retrieve.nearest import Array, nearest

NEIGHBORS = 10


def mean_similarity(
    vectors: Array, bank: Array, k: int = NEIGHBORS, own_rows: Array | None = None
) -> Array:
    """The mean cosine (q,) of each vector's k nearest rows of `bank`: r in CSLS.

    `vectors` is (q, d) and `bank` (n, d), both with unit rows. `own_rows` (q,) are the rows of
    `bank` that hold the vectors themselves and are left out. With fewer than k rows the mean is
    of those there are, and 0 of none.
    """
    barred = None if own_rows is None else np.asarray(own_rows)[:, None]
    scores, _ = nearest(vectors, bank, k, barred)
    return mean_of_found(scores)


def mean_of_found(scores: Array) -> Array:
    """The mean of each row of `scores` (q, k) without its empty places, which hold -inf."""
    found = np.isfinite(scores)
    sums = np.where(found, scores, 0.0).sum(axis=1)
    return np.asarray(sums / np.maximum(found.sum(axis=1), 1))


def csls(cosines: Array, of_queries: Array, of_bank: Array) -> Array:
    """2 cos - r_q - r_b for `cosines` (q, n), the queries' (q,) and the bank's (n,) similarity."""
    return np.asarray(2 * cosines - of_queries[:, None] - of_bank[None, :])
