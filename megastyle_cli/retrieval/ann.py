"""Approximate nearest neighbours by an inverted file (IVF) of FAISS, with measured recall.

The IVF only names candidates, which are scored exactly, so scores do not depend on the method. The
settings are ours.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import faiss
import numpy as np

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.retrieval.artifact_cache import ArtifactCache
from megastyle_cli.retrieval.embed import Array
from megastyle_cli.retrieval.nearest import (
    Excluded,
    Searcher,
    mask_excluded,
    nearest,
    rescore,
)

log = logging.getLogger(__name__)

# 4 sqrt(n) lists, but at least 39 rows per list to train its centroid, as FAISS recommends
IVF = {"lists_per_root": 4, "rows_per_list": 39, "share_searched": 1 / 8, "least_searched": 8}
ARTIFACT = "ivf.faiss"
RECALL_SAMPLE = 1000
RECALL_AT = 10
BLOCK = 1024
MAX_GROWTH = 2  # beyond this the index is rebuilt: its centroids were trained on other rows


class IvfSearcher:
    """Searches a FAISS IVF over `vectors` (n, d) and scores its candidates exactly."""

    method = "ivf"
    settings: Mapping[str, Any] = IVF

    def __init__(self, ivf: Any, vectors: Array) -> None:
        self.ivf, self.vectors = ivf, vectors
        self.stats: Mapping[str, Any] = {}
        self.remarks: Sequence[str] = ()
        self._centroids = ivf.quantizer.reconstruct_n(0, ivf.nlist)
        wanted = max(IVF["least_searched"], round(IVF["share_searched"] * ivf.nlist))
        ivf.nprobe = min(ivf.nlist, int(wanted))

    def search(self, queries: Array, k: int, excluded: Excluded = None) -> tuple[Array, Array]:
        """Cosines (q, k), best first, and row numbers (q, k); the rest are -inf and -1."""
        queries = np.ascontiguousarray(queries, np.float32)
        max_excluded = 0 if excluded is None else max(map(len, excluded), default=0)
        num_candidates = min(len(self.vectors), 2 * k + max_excluded)
        # FAISS would choose the lists by a product whose last bits depend on the other queries
        scores, lists = nearest(queries, self._centroids, self.ivf.nprobe)
        _, found = self.ivf.search_preassigned(
            queries, num_candidates, lists, scores.astype(np.float32)
        )
        candidates = mask_excluded(np.asarray(found), excluded, len(self.vectors))
        return rescore(candidates, queries, self.vectors, k)


def open_ivf(vectors: Array, cache: ArtifactCache | None = None, seed: int = 0) -> IvfSearcher:
    """An IVF searcher of `vectors` (n, d) with its recall in `stats` and `remarks`.

    The index is read from `cache` and extended if it covers at least half of the rows; otherwise
    it is built and cached.
    """
    ivf, metadata = _open_cached(cache)
    fits = ivf is not None and ivf.d == vectors.shape[1]
    if not fits or not len(vectors) / MAX_GROWTH <= ivf.ntotal <= len(vectors):
        log.info("ivf: building it from %d rows", len(vectors))
        ivf, metadata = build_ivf(vectors), {}
    add_rows(ivf, vectors)
    searcher = IvfSearcher(ivf, vectors)
    is_measured = all(type(metadata.get(name)) in (int, float) for name in ("recall", "rows"))
    if metadata.get("count") != len(vectors) or not is_measured:
        share, num_rows = recall(searcher, vectors, RECALL_AT, RECALL_SAMPLE, seed)
        metadata = {"count": len(vectors), "settings": IVF, "recall": share, "rows": num_rows}
        if cache is not None:
            with cache.create(ARTIFACT, metadata) as file:
                faiss.write_index(ivf, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined]
    share, num_rows = float(metadata["recall"]), int(metadata["rows"])
    searcher.stats = {
        "method": "ivf",
        f"recall_{RECALL_AT}": round(share, 4),
        "recall_rows": num_rows,
    }
    searcher.remarks = (f"ivf: recall@{RECALL_AT} {share:.3f} on {num_rows:,} rows of the index",)
    return searcher


def build_ivf(vectors: Array) -> Any:
    """A FAISS IVF of the rows, the same on every machine: it is built by one thread."""
    n, d = vectors.shape
    wanted = round(IVF["lists_per_root"] * n**0.5)
    num_lists = max(1, min(wanted, int(n // IVF["rows_per_list"])))
    ivf: Any = faiss.index_factory(d, f"IVF{num_lists},Flat", faiss.METRIC_INNER_PRODUCT)
    ivf.cp.min_points_per_centroid = 1
    with _one_thread():
        ivf.train(np.ascontiguousarray(vectors))
    add_rows(ivf, vectors)
    return ivf


def add_rows(ivf: Any, vectors: Array) -> None:
    """Adds the rows of `vectors` that the index does not hold yet."""
    with _one_thread():
        for start in range(ivf.ntotal, len(vectors), BLOCK):
            ivf.add(np.ascontiguousarray(vectors[start : start + BLOCK]))


def recall(
    searcher: Searcher, vectors: Array, k: int, sample_size: int, seed: int
) -> tuple[float, int]:
    """The share of the k nearest rows that `searcher` finds for rows of the index, and the number
    of rows it was measured on.

    At most `sample_size` rows are drawn; a row does not find itself. Any row with a score as high
    as the k-th nearest counts as found, so equal rows may replace each other.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:sample_size])
    k = min(k, len(vectors) - 1)
    if k < 1:
        return 1.0, len(rows)
    num_found = total = 0
    for start in range(0, len(rows), BLOCK):
        own = rows[start : start + BLOCK]
        queries = np.asarray(vectors[own])
        best, _ = nearest(queries, vectors, k, own[:, None])
        scores, _ = searcher.search(queries, k, own[:, None])
        num_found += int((scores >= best[:, -1:]).sum())
        total += best.size
    return num_found / total, len(rows)


def _open_cached(cache: ArtifactCache | None) -> tuple[Any, dict[str, Any]]:
    """The cached FAISS index and its metadata; (None, {}) if there is none with these settings."""
    cached: tuple[dict[str, Any], BinaryIO] | None = cache.open(ARTIFACT) if cache else None
    if cached is None:
        return None, {}
    metadata, file = cached
    with file:
        if metadata.get("settings") != IVF:
            return None, {}
        try:
            reader = faiss.PyCallbackIOReader(file.read)  # type: ignore[attr-defined]
            return faiss.read_index(reader), metadata
        except RuntimeError as error:
            raise MegastyleError(
                f"this version of FAISS cannot read the index's {ARTIFACT}",
                hint="delete it; it will be rebuilt",
            ) from error


@contextmanager
def _one_thread() -> Iterator[None]:
    # what several threads build depends on their timing
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
