"""CSLS: cosines corrected for hubs, rows that are close to everything.

CSLS(x, y) = 2 cos(x, y) - r(x) - r(y), where r is the mean cosine of a vector with its 10 nearest
rows of the other side.
Source: Conneau et al. 2018 (arXiv 1710.04087), section 2.3, cross-domain similarity local scaling.
"""

import logging

import numpy as np

from megastyle_cli.retrieval.artifact_cache import ArtifactCache
from megastyle_cli.retrieval.embed import Array
from megastyle_cli.retrieval.nearest import ExactSearcher, Excluded, Searcher, nearest

log = logging.getLogger(__name__)

NEIGHBORS = 10
BLOCK = 1024  # rows whose neighbours are searched at a time
# rows with an added column held at a time: 25 MB of 768 numbers, where the others stay on disk
WIDENED_ROWS = 8192


def mean_similarity(
    vectors: Array, bank: Array, k: int = NEIGHBORS, own_rows: Array | None = None
) -> Array:
    """The mean cosine (q,) of each vector with its k nearest rows of `bank`: r in CSLS.

    `vectors` is (q, d) and `bank` (n, d), both with unit rows. `own_rows` (q,) are the rows of
    `bank` that hold the vectors themselves and are left out. With fewer than k rows the mean is
    over those there are, and 0 if there are none.
    """
    excluded = None if own_rows is None else np.asarray(own_rows)[:, None]
    scores, _ = nearest(vectors, bank, k, excluded)
    return mean_of_found(scores)


def mean_of_found(scores: Array) -> Array:
    """The mean of each row of `scores` (q, k) over its finite entries; 0 if there are none."""
    found = np.isfinite(scores)
    sums = np.where(found, scores, 0.0).sum(axis=1)
    return np.asarray(sums / np.maximum(found.sum(axis=1), 1))


def bank_similarity(
    searcher: Searcher, vectors: Array, cache: ArtifactCache | None = None
) -> Array:
    """r of CSLS for the rows of the index: the mean cosine (n,) float64 of each row of `vectors`
    (n, d) with its nearest other rows, as `searcher` finds them. Read from `cache` if it is there.
    """
    name = f"csls-{searcher.method}.f64"
    metadata = {"count": len(vectors), "neighbors": NEIGHBORS, **searcher.settings}
    cached = cache.open(name) if cache is not None else None
    if cached is not None:
        with cached[1] as file:
            content = file.read()
            if cached[0] == metadata and len(content) == 8 * len(vectors):
                return np.frombuffer(content, "<f8")
    log.info("csls: computing the mean similarity of %d rows to their neighbors", len(vectors))
    similarity = np.empty(len(vectors), "<f8")
    for start in range(0, len(vectors), BLOCK):
        own = np.arange(start, min(start + BLOCK, len(vectors)))
        scores, _ = searcher.search(np.asarray(vectors[own]), NEIGHBORS, own[:, None])
        similarity[own] = mean_of_found(scores)
    if cache is not None:
        with cache.create(name, metadata) as file:
            file.write(similarity.tobytes())
    return similarity


class ExactCslsSearcher:
    """Ranks all rows by CSLS.

    2 cos(q, b) - r(b) is twice the product of the vectors (q, 1) and (b, -r(b) / 2), so the exact
    search by cosine does the work, on a block of widened rows at a time.
    """

    def __init__(self, searcher: ExactSearcher, r_bank: Array) -> None:
        self.searcher, self.r_bank = searcher, r_bank
        self.method, self.settings = searcher.method, searcher.settings
        self.stats, self.remarks = searcher.stats, searcher.remarks

    def search(self, queries: Array, k: int, excluded: Excluded = None) -> tuple[Array, Array]:
        """CSLS scores (q, k), best first, and row numbers (q, k)."""
        vectors = self.searcher.vectors
        neighbor_cosines, _ = self.searcher.search(queries, NEIGHBORS, excluded)
        widened_queries = np.column_stack([queries, np.ones(len(queries), np.float32)])
        scores, rows = np.empty((len(queries), 0)), np.empty((len(queries), 0), np.int64)
        for start in range(0, len(vectors), WIDENED_ROWS):
            block = slice(start, start + WIDENED_ROWS)
            column = (-self.r_bank[block] / 2).astype(np.float32)
            widened = np.column_stack([vectors[block], column])
            excluded_here = _excluded_from(excluded, start, len(widened))
            more, found = nearest(widened_queries, widened, k, excluded_here)
            # those of earlier blocks come first, and so do they among ties
            scores = np.concatenate([scores, more], axis=1)
            rows = np.concatenate([rows, np.where(found >= 0, found + start, -1)], axis=1)
            best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            scores = np.take_along_axis(scores, best, axis=1)
            rows = np.take_along_axis(rows, best, axis=1)
        return 2 * scores - mean_of_found(neighbor_cosines)[:, None], rows


class CslsReranker:
    """Reranks by CSLS ten times as many candidates as are requested, found by cosine."""

    def __init__(self, searcher: Searcher, r_bank: Array) -> None:
        self.searcher, self.r_bank = searcher, r_bank
        self.method, self.settings = searcher.method, searcher.settings
        self.stats, self.remarks = searcher.stats, searcher.remarks

    def search(self, queries: Array, k: int, excluded: Excluded = None) -> tuple[Array, Array]:
        """CSLS scores (q, k), best first, and row numbers (q, k)."""
        num_candidates = min(len(self.r_bank), max(10 * k, NEIGHBORS))
        cosines, rows = self.searcher.search(queries, num_candidates, excluded)
        r_queries = mean_of_found(cosines[:, :NEIGHBORS])
        scores = 2 * cosines - r_queries[:, None] - self.r_bank[rows]
        order = np.lexsort((rows, -scores), axis=1)[:, :k]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


def _excluded_from(excluded: Excluded, start: int, count: int) -> Excluded:
    """The excluded row numbers among `count` rows from `start`, counted from there."""
    if excluded is None:
        return None
    shifted = [np.asarray(rows, np.int64) - start for rows in excluded]
    return [rows[(rows >= 0) & (rows < count)] for rows in shifted]
