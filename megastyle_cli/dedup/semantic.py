"""Semantic duplicates: embeds texts on demand and links pairs above a cosine threshold.

Only texts that are kept so far are embedded. Each is compared with those embedded before it: with
all of them, or, where there are very many, with those in nearby cells, at a measured recall.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.engine import Engine, text_batches
from megastyle_cli.dedup.config import SemanticConfig
from megastyle_cli.dedup.ivf_search import SearchRecall, search_neighbors
from megastyle_cli.dedup.near import AdjacencyList
from megastyle_cli.dedup.pairwise import MAX_NEIGHBORS, NeighborPairs, cosines, exact_neighbors
from megastyle_cli.io.embedding_cache import EmbedTexts
from megastyle_cli.io.temporary_files import Spool, scratch_array
from megastyle_cli.models.registry import load
from megastyle_cli.runner.progress import Stage

Array = npt.NDArray[Any]
Vectors = npt.NDArray[np.float32]

MAX_EXACT = 5_000_000_000  # comparisons up to which all pairs are compared: 100,000 vectors
_BLOCK = 1024  # texts per call of the embedder, and the most that a killed run embeds again
_CLUSTER_SIZE = 1000  # texts per cluster whose centroid ranks texts as hard or easy
_ROUNDS = 20
_BATCH_SIZE = 1024  # texts per call of an embedder without a batch_size
_loaded: dict[tuple[str, str | None], Any] = {}  # the embedders of this process
_loading = Lock()


@dataclass(frozen=True)
class TextSource:
    """The texts under `key` of spooled records, read again where a stage needs them."""

    spool: Spool
    key: str

    def read(self, rows: Iterable[int]) -> Iterator[str]:
        """The texts of the records at `rows`."""
        return (record[self.key] for record in self.spool.read(rows))

    def ids(self) -> Iterator[str]:
        """The ids of all records."""
        return (record["id"] for record in self.spool.read())


@dataclass
class SearchStats:
    """How close texts were searched for: the recall of each search, and unusable embeddings.

    With `candidates`, only pairs of at least that cosine were compared by a second embedder.
    """

    candidates: float | None = None
    searches: list[SearchRecall] = field(default_factory=list)
    num_not_finite: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For a report: exact, or approximate with the measured recall; empty without a search."""
        if not self.searches:
            return {}
        verified = {} if self.candidates is None else {"candidates_from": self.candidates}
        approximate = [search for search in self.searches if search.probes]
        if not approximate:
            return {"search": "exact", **verified}
        total = SearchRecall(
            probes=max(search.probes for search in approximate),
            sampled=sum(search.sampled for search in approximate),
            pairs=sum(search.pairs for search in approximate),
            found=sum(search.found for search in approximate),
        )
        return {
            "search": "approximate",
            **verified,
            "recall": round(total.recall, 4) if total.pairs else None,
            "sampled_texts": total.sampled,
            "sampled_pairs": total.pairs,
            "cells_searched": total.probes,
        }

    def remarks(self) -> list[str]:
        """The same as sentences for people."""
        facts = self.as_dict()
        remarks = []
        if self.num_not_finite:
            remarks.append(
                f"{self.num_not_finite:,} texts have an embedding that is not a number (NaN) and"
                " were not compared: check the embedder"
            )
        if self.searches and self.candidates is not None:
            remarks.append(
                "semantic: the sentence model compared only pairs with a token cosine of"
                f" {self.candidates:g} or more, at most {MAX_NEIGHBORS} per text"
            )
        compared = "semantic" if self.candidates is None else "those pairs"
        if facts.get("search") == "exact":
            remarks.append(f"{compared}: exact, all pairs were compared")
        elif facts:
            pairs, texts = facts["sampled_pairs"], facts["sampled_texts"]
            remarks.append(
                f"{compared}: approximate ({facts['cells_searched']} cells per text), "
                + (
                    f"recall {facts['recall']:.4g} of {pairs:,} close pairs of"
                    f" {texts:,} sampled texts"
                    if pairs
                    else f"{texts:,} sampled texts have no close pairs to measure the recall on"
                )
            )
        return remarks


class SemanticLinker:
    """Embeds texts when they are needed and links those of similar meaning.

    Text i is that of record `rows[i]` of `texts`. `embedders` holds the embedder, and a second one
    if pairs are verified; each must embed a text independently of the others in its call. Vectors
    are kept on disk. Embedders advance `progress` themselves, by text.
    """

    def __init__(
        self,
        config: SemanticConfig,
        texts: TextSource,
        rows: Array,
        embedders: Sequence[EmbedTexts],
        engine: Engine,
        progress: Stage,
    ) -> None:
        self.config, self.texts, self.rows = config, texts, rows
        self.embedders, self.engine, self.progress = embedders, engine, progress
        self.stats = SearchStats(candidates=config.candidates if config.is_verified else None)
        self.is_embedded = np.zeros(len(rows), bool)
        self.embedded = np.empty(0, np.int32)  # texts, in the order of their vectors
        self.vectors = np.empty((0, 0), np.float32)  # a view of `_storage`
        self.is_truncated = np.empty(0, bool)  # whether a text has more neighbors than are listed
        self.pairs: list[tuple[Array, Array, Array]] = []
        self._storage: Array | None = None  # space for the vectors of all texts

    def embed_and_link(self, kept: Array, order: Array) -> bool:
        """Embeds those of the `kept` texts that have no vector yet, and links them.

        Returns whether there is a new text or a new link, so that the choice of texts to keep has
        to be made again.
        """
        new = kept[~self.is_embedded[kept]]
        if len(new) == 0:
            return self._link_truncated(kept, order)
        before = len(self.embedded)
        self._embed(new, before)
        self.is_embedded[new] = True
        self.embedded = np.append(self.embedded, new)
        self.progress.begin("parts of all pairs compared")
        found, recall = self._neighbors_from(before)
        self.stats.searches.append(recall)
        self.is_truncated = np.append(self.is_truncated, found.is_truncated)
        if self.config.is_verified:
            found = self._verify(found)
        self.pairs.append((self.embedded[found.one], self.embedded[found.two], found.score))
        return True

    def _neighbors_from(self, start: int) -> tuple[NeighborPairs, SearchRecall]:
        """The neighbors of the vectors from row `start` on, and the recall of the search.

        All pairs are compared if there are few, or if all of them are asked for.
        """
        config, n = self.config, len(self.vectors)
        threshold = config.candidates if config.is_verified else config.threshold
        where = (self.engine, self.progress)
        if config.recall >= 1 or (n - start) * (n + start) <= 2 * MAX_EXACT:
            rows = np.arange(start, n)
            return exact_neighbors(self.vectors, rows, threshold, *where), SearchRecall()
        return search_neighbors(self.vectors, start, threshold, config.recall, *where)

    def adjacency(self, order: Array) -> AdjacencyList:
        """The links of each text to texts earlier in `order`, in that order."""
        n = len(self.rows)
        if not self.pairs:
            return AdjacencyList.empty(n)
        one, two, score = (np.concatenate(parts) for parts in zip(*self.pairs, strict=True))
        position = _positions(order)
        is_ordered = position[one] > position[two]
        later, earlier = np.where(is_ordered, one, two), np.where(is_ordered, two, one)
        by = np.lexsort((position[earlier], later))
        starts = np.zeros(n + 1, np.int64)
        np.cumsum(np.bincount(later, minlength=n), out=starts[1:])
        return AdjacencyList(starts, earlier[by].astype(np.int32), n, score[by])

    def _embed(self, new: Array, before: int) -> None:
        """Appends the vectors of texts `new` to the `before` vectors in storage."""
        for vectors in self._vectors_of(new, self.embedders[0]):
            if self._storage is None:
                self._storage = scratch_array(len(self.rows), vectors.shape[1])
            self._storage[before : before + len(vectors)] = vectors
            self.stats.num_not_finite += int((~np.isfinite(vectors).all(axis=1)).sum())
            before += len(vectors)
        if self._storage is not None:
            self.vectors = self._storage[:before]

    def _vectors_of(self, texts: Array, embed: EmbedTexts) -> Iterator[Array]:
        self.progress.begin("texts embedded", len(texts))
        for batch in text_batches(self.texts.read(self.rows[texts]), _BLOCK):
            yield embed(batch)

    def _verify(self, found: NeighborPairs) -> NeighborPairs:
        """The pairs that reach the threshold by the second embedder, with its cosine."""
        distinct, at = np.unique(np.concatenate([found.one, found.two]), return_inverse=True)
        if len(distinct) == 0:
            return found
        vectors = np.concatenate(list(self._vectors_of(self.embedded[distinct], self.embedders[1])))
        one, two = at[: len(found.one)], at[len(found.one) :]
        score = cosines(vectors, one, vectors, two)
        is_close = score >= self.config.threshold
        return NeighborPairs(
            found.one[is_close], found.two[is_close], score[is_close], found.is_truncated
        )

    def _link_truncated(self, kept: Array, order: Array) -> bool:
        """Links kept texts to earlier kept texts missing from their truncated lists of neighbors.

        Returns whether there were any. Not done where pairs are verified.
        """
        if self.config.is_verified or not self.is_truncated.any():
            return False
        position = _positions(order)[self.embedded]
        is_kept = np.isin(self.embedded, kept)
        links = []
        for row in np.flatnonzero(self.is_truncated & is_kept):
            bank = np.flatnonzero(is_kept & (position < position[row]))
            score = cosines(self.vectors, np.full(len(bank), row), self.vectors, bank)
            hits = np.flatnonzero(score >= self.config.threshold)
            if len(hits):
                hit = hits[np.argmin(position[bank[hits]])]
                links.append((self.embedded[row], self.embedded[bank[hit]], score[hit]))
        if links:
            one, two, scores = zip(*links, strict=True)
            self.pairs.append((np.array(one), np.array(two), np.array(scores)))
        return bool(links)


def parallel_embed(
    embedder: Any, backend: str, model: str | None, *, engine: Engine, progress: Stage
) -> EmbedTexts:
    """A function that embeds texts with `embedder`, in parallel on the engine's workers.

    A worker in another process loads the model by its name. An embedder without `is_parallel` runs
    in the calling thread.
    """
    _loaded[backend, model] = embedder
    batch_size = getattr(embedder, "batch_size", _BATCH_SIZE)

    def embed(texts: Sequence[str]) -> Vectors:
        starts = range(0, max(1, len(texts)), batch_size)
        parts = [texts[low : low + batch_size] for low in starts]
        embedded: Iterable[Vectors] = map(embedder.embed, parts)
        if getattr(embedder, "is_parallel", False):
            embedded = engine.map(_embed_part, parts, backend, model)
        rows = []
        for part in embedded:
            rows.append(part)
            progress.advance(len(part))
        return np.concatenate(rows)

    return embed


def _embed_part(texts: Sequence[str], backend: str, model: str | None) -> Vectors:
    with _loading:
        if (backend, model) not in _loaded:
            named = {"model": model} if model else {}
            _loaded[backend, model] = load("text_embedder", backend, **named)
    rows: Vectors = _loaded[backend, model].embed(texts)
    return rows


def distances_to_centroid(vectors: Array) -> Array:
    """The squared distance of unit vectors (n, d) to the centroid of their cluster, (n,) float64.

    Clusters have about a thousand vectors, by k-means; distances are rounded to six digits, beyond
    which they are noise. NeMo-Curator calls texts far from the centroid hard, near ones easy.
    """
    is_finite = all(np.isfinite(part).all() for part in np.array_split(vectors, _ROUNDS))
    rows = vectors if is_finite else np.nan_to_num(vectors)
    import faiss  # slow to import, and rarely needed

    kmeans = faiss.Kmeans(rows.shape[1], max(1, len(rows) // _CLUSTER_SIZE), niter=_ROUNDS, seed=0)
    kmeans.cp.min_points_per_centroid = 1
    kmeans.train(rows)
    distances: Array = kmeans.index.search(rows, 1)[0][:, 0]
    return np.round(distances.astype(np.float64), 6)


def _positions(order: Array) -> Array:
    """The position of each text in `order`, the inverse permutation."""
    positions = np.empty(len(order), np.int64)
    positions[order] = np.arange(len(order))
    return positions
