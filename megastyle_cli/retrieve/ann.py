"""Ways to search style vectors: exact, or approximate with its recall measured; cosine or CSLS.

The approximate indexes are FAISS's. They only name candidates, which are then scored exactly, so a
score does not depend on the way. The settings are ours.
Source: Malkov & Yashunin 2018 (arXiv 1603.09320) for HNSW.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, Literal, Protocol

import faiss
import numpy as np

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.retrieve.csls import NEIGHBORS, mean_of_found
from megastyle_cli.retrieve.nearest import Array, Barred, best_of, nearest, without

log = logging.getLogger(__name__)

Method = Literal["exact", "hnsw", "ivf"]
# queries (q, d), k, rows that must not be found -> scores (q, k) and rows (q, k), as `nearest`
Search = Callable[[Array, int, Barred], tuple[Array, Array]]

HNSW = {"links": 32, "build_depth": 100, "search_depth": 256}
# queries (q, d) and how many -> rows (q, c) that may be near, -1 where there are fewer
Candidates = Callable[[Array, int], Array]

# lists: 4 sqrt(n), with 39 rows or more for each to be placed by, as FAISS asks
IVF = {"lists_per_root": 4, "rows_per_list": 39, "share_searched": 1 / 8, "least_searched": 8}
SETTINGS: dict[str, dict[str, Any]] = {"hnsw": HNSW, "ivf": IVF}
SAMPLE = 1000
RECALL_AT = 10
BLOCK = 1024
CSLS_ROWS = 8192  # widened at a time: 25 MB of 768 numbers, where all rows may be on disk alone
MOST_GROWTH = 2  # beyond that an index is built anew: its lists were placed for other rows


class Shelf(Protocol):
    """Where what was computed for an index is kept for the next run."""

    def take(self, name: str) -> tuple[dict[str, Any], BinaryIO] | None: ...
    def keep(self, name: str, facts: dict[str, Any], write: Callable[[BinaryIO], None]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A way to search; `measured` is what --stats holds of it, `remarks` what is said of it."""

    search: Search
    measured: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def prepare(
    vectors: Array, method: Method, *, calibrated: bool, shelf: Shelf | None = None, seed: int = 0
) -> Prepared:
    """The search of `vectors` (n, d), unit rows, by `method`; with CSLS scores if `calibrated`.

    What takes long is taken from `shelf` if it is of these rows, and kept there.
    """
    found = _plain(vectors, method, shelf, seed)
    if not calibrated:
        return found
    crowding = _crowding(found.search, vectors, method, shelf)
    calibrate = _calibrated_exactly if method == "exact" else _calibrated_candidates
    return Prepared(
        search=calibrate(found.search, vectors, crowding),
        measured=found.measured,
        remarks=found.remarks,
    )


def exact(vectors: Array) -> Search:
    """Every row is looked at: `nearest`."""
    return lambda queries, k, barred: nearest(queries, vectors, k, barred)


def approximate(index: Any, vectors: Array) -> Search:
    """The candidates of a FAISS index over `vectors`, scored exactly."""
    candidates = _of_hnsw(index) if isinstance(index, faiss.IndexHNSW) else _of_ivf(index)

    def search(queries: Array, k: int, barred: Barred) -> tuple[Array, Array]:
        most_barred = 0 if barred is None else max(map(len, barred), default=0)
        wide = min(len(vectors), 2 * k + most_barred)
        found = candidates(np.ascontiguousarray(queries, np.float32), wide)
        return best_of(without(found, barred, len(vectors)), queries, vectors, k)

    return search


def build(vectors: Array, method: Method) -> Any:
    """A FAISS index of the rows, the same on every machine: one thread builds it."""
    n, d = vectors.shape
    with _one_thread():
        if method == "hnsw":
            made = f"HNSW{HNSW['links']},Flat"
            index: Any = faiss.index_factory(d, made, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = HNSW["build_depth"]
        else:
            wanted = round(IVF["lists_per_root"] * n**0.5)
            lists = max(1, min(wanted, int(n // IVF["rows_per_list"])))
            index = faiss.index_factory(d, f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
            index.cp.min_points_per_centroid = 1
            index.train(np.ascontiguousarray(vectors))
        add_rows(index, vectors)
    return index


def add_rows(index: Any, vectors: Array) -> None:
    """Adds the rows of `vectors` that the index does not hold yet."""
    with _one_thread():
        for start in range(index.ntotal, len(vectors), BLOCK):
            index.add(np.ascontiguousarray(vectors[start : start + BLOCK]))


def recall(search: Search, vectors: Array, k: int, sample: int, seed: int) -> tuple[float, int]:
    """The share of the k nearest that `search` finds for rows of the index, and for how many rows.

    At most `sample` rows are drawn; a row does not find itself. What scores as high as the k-th
    nearest counts as found, whichever of equal rows it is.
    """
    rows = np.random.default_rng(seed).permutation(len(vectors))[:sample]
    rows = np.sort(rows)
    k = min(k, len(vectors) - 1)
    if k < 1:
        return 1.0, len(rows)
    found = total = 0
    for start in range(0, len(rows), BLOCK):
        own = rows[start : start + BLOCK]
        queries = np.asarray(vectors[own])
        best, _ = nearest(queries, vectors, k, own[:, None])
        scores, _ = search(queries, k, own[:, None])
        found += int((scores >= best[:, -1:]).sum())
        total += best.size
    return found / total, len(rows)


def _plain(vectors: Array, method: Method, shelf: Shelf | None, seed: int) -> Prepared:
    if method == "exact":
        return Prepared(search=exact(vectors))
    name, settings = f"{method}.faiss", SETTINGS[method]
    index, facts = _taken(shelf, name, settings)
    if index is None or not len(vectors) / MOST_GROWTH <= index.ntotal <= len(vectors):
        log.info("%s: built from %d rows", method, len(vectors))
        index, facts = build(vectors, method), {}
    add_rows(index, vectors)
    search = approximate(index, vectors)
    if facts.get("count") != len(vectors):
        share, rows = recall(search, vectors, RECALL_AT, SAMPLE, seed)
        facts = {"count": len(vectors), "settings": settings, "recall": share, "rows": rows}
        if shelf is not None:
            shelf.keep(name, facts, partial(_dump, index))
    recall_at, rows = float(facts["recall"]), int(facts["rows"])
    return Prepared(
        search=search,
        measured={
            "method": method,
            f"recall_{RECALL_AT}": round(recall_at, 4),
            "recall_rows": rows,
        },
        remarks=(f"{method}: recall@{RECALL_AT} {recall_at:.3f} on {rows:,} rows of the index",),
    )


def _taken(shelf: Shelf | None, name: str, settings: dict[str, Any]) -> tuple[Any, Any]:
    """The kept FAISS index and its facts; (None, {}) if there is none with these settings."""
    taken = shelf.take(name) if shelf is not None else None
    if taken is None:
        return None, {}
    facts, file = taken
    with file:
        if facts.get("settings") != settings:
            return None, {}
        try:
            reader = faiss.PyCallbackIOReader(file.read)  # type: ignore[attr-defined]
            return faiss.read_index(reader), facts
        except RuntimeError as error:
            raise MegastyleError(
                f"{name} of the index is not read by this version of FAISS",
                hint="delete it: it is built again",
            ) from error


def _dump(index: Any, file: BinaryIO) -> None:
    faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined]


def _of_hnsw(index: Any) -> Candidates:
    def candidates(queries: Array, wide: int) -> Array:
        index.hnsw.efSearch = max(int(HNSW["search_depth"]), wide)
        return np.asarray(index.search(queries, wide)[1])

    return candidates


def _of_ivf(index: Any) -> Candidates:
    centroids = index.quantizer.reconstruct_n(0, index.nlist)
    wanted = max(IVF["least_searched"], round(IVF["share_searched"] * index.nlist))
    index.nprobe = min(index.nlist, int(wanted))

    def candidates(queries: Array, wide: int) -> Array:
        # FAISS would choose the lists by a product whose last bits depend on the other queries
        scores, lists = nearest(queries, centroids, index.nprobe)
        found = index.search_preassigned(queries, wide, lists, scores.astype(np.float32))
        return np.asarray(found[1])

    return candidates


def _crowding(search: Search, vectors: Array, method: Method, shelf: Shelf | None) -> Array:
    """The mean cosine (n,) float64 of each row with its nearest others, by `search`."""
    name = f"csls-{method}.f64"
    facts = {"count": len(vectors), "neighbors": NEIGHBORS, **SETTINGS.get(method, {})}
    taken = shelf.take(name) if shelf is not None else None
    if taken is not None:
        with taken[1] as file:
            if taken[0] == facts:
                return np.frombuffer(file.read(), "<f8")
    log.info("csls: how crowded each of %d rows is", len(vectors))
    crowding = np.empty(len(vectors), "<f8")
    for start in range(0, len(vectors), BLOCK):
        own = np.arange(start, min(start + BLOCK, len(vectors)))
        scores, _ = search(np.asarray(vectors[own]), NEIGHBORS, own[:, None])
        crowding[own] = mean_of_found(scores)
    if shelf is not None:
        shelf.keep(name, facts, lambda file: _write_all(file, crowding.tobytes()))
    return crowding


def _write_all(file: BinaryIO, content: bytes) -> None:
    file.write(content)


def _calibrated_exactly(search: Search, vectors: Array, crowding: Array) -> Search:
    """CSLS over all rows: 2 cos - r_b is twice the product of (q, 1) and (b, -r_b / 2)."""

    def calibrated(queries: Array, k: int, barred: Barred) -> tuple[Array, Array]:
        near, _ = search(queries, NEIGHBORS, barred)
        asked = np.column_stack([queries, np.ones(len(queries), np.float32)])
        found = [np.empty((len(queries), 0)), np.empty((len(queries), 0), np.int64)]
        for start in range(0, len(vectors), CSLS_ROWS):
            some = slice(start, start + CSLS_ROWS)
            widened = np.column_stack([vectors[some], (-crowding[some] / 2).astype(np.float32)])
            scores, rows = nearest(asked, widened, k, _barred_of(barred, start, len(widened)))
            found = _best(found, [scores, np.where(rows >= 0, rows + start, -1)], k)
        scores, rows = found
        return 2 * scores - mean_of_found(near)[:, None], rows

    return calibrated


def _barred_of(barred: Barred, start: int, count: int) -> Barred:
    """The row numbers barred from `count` rows from `start` on, as their places among those."""
    if barred is None:
        return None
    places = [np.asarray(rows, np.int64) - start for rows in barred]
    return [of_one[(of_one >= 0) & (of_one < count)] for of_one in places]


def _best(found: list[Array], more: list[Array], k: int) -> list[Array]:
    """The k best scores (q, k) and their rows of two such pairs, those of earlier rows first."""
    scores, rows = (np.concatenate(both, axis=1) for both in zip(found, more, strict=True))
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return [np.take_along_axis(values, best, axis=1) for values in (scores, rows)]


def _calibrated_candidates(search: Search, vectors: Array, crowding: Array) -> Search:
    """CSLS over ten times as many candidates by cosine as are asked for."""

    def calibrated(queries: Array, k: int, barred: Barred) -> tuple[Array, Array]:
        wide = min(len(vectors), max(10 * k, NEIGHBORS))
        cosines, rows = search(queries, wide, barred)
        scores = 2 * cosines - mean_of_found(cosines[:, :NEIGHBORS])[:, None] - crowding[rows]
        order = np.lexsort((rows, -scores), axis=1)[:, :k]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)

    return calibrated


@contextmanager
def _one_thread() -> Iterator[None]:
    # what several threads build depends on which of them was first
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
