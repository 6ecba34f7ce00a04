"""Texts close in meaning: met by their vectors as they are needed, and linked.

Only texts that stay so far are embedded. Each is compared with those met before: with all, or where
there are very many, with those in cells near it, and it is measured how many pairs that finds.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.engine import Engine
from megastyle_cli.core.batching import text_batches
from megastyle_cli.dedup.ivf_search import Search, search
from megastyle_cli.dedup.pairwise import AT_MOST, Pairs, cosines_of
from megastyle_cli.dedup.selection import Links, no_links

Array = npt.NDArray[Any]
Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]

_BLOCK = 1024  # texts asked of the embedder at a time, and lost at most when it is killed
_CLUSTER = 1000  # texts a cluster whose centroid tells hard from easy
_ROUNDS = 20


@dataclass(frozen=True, kw_only=True)
class SemanticOptions:
    """The cosine from which two texts mean the same; what is right depends on the embedder.

    With `is_verified`, pairs of at least `candidates` by the first embedder are compared by the
    second, and its cosine counts. At least `recall` of the close pairs are found; with 1 all pairs
    are compared.
    """

    threshold: float = 0.99
    recall: float = 0.99
    is_verified: bool = False
    candidates: float = 0.85


class Watch(Protocol):
    """Who is told how far a long work has come."""

    def begin(self, what: str, total: int | None = None) -> None:
        """Work of `total` parts begins; None if nobody knows."""

    def advance(self, count: int = 1) -> None:
        """So many parts more are done."""


class Unwatched:
    """A `Watch` that does nothing."""

    def begin(self, what: str, total: int | None = None) -> None:
        """Nobody looks."""

    def advance(self, count: int = 1) -> None:
        """Nobody looks."""


@dataclass(frozen=True)
class Texts:
    """What the measures may ask of the records: texts by row, all ids, and unit vectors (n, d).

    `embeds` holds the embedder, and one that verifies if that is asked; each gives a row by its
    text alone. `room` gives the place for all vectors, (n, d) float32; embedders tell `watch`
    themselves what they made.
    """

    read: Callable[[Array], Iterator[str]]
    ids: Callable[[], Iterable[str]]
    embeds: Sequence[Embed] = ()
    room: Callable[[int, int], Array] = lambda n, d: np.empty((n, d), np.float32)
    watch: Watch = Unwatched()


@dataclass
class Looked:
    """How close texts were looked for: each search, and the texts whose vector is no number.

    With `candidates` only pairs of that cosine were then judged by another embedder.
    """

    candidates: float | None = None
    searches: list[Search] = field(default_factory=list)
    num_without: int = 0

    def told(self) -> dict[str, Any]:
        """For a report: exact, or how much of what there is was found."""
        near = [how for how in self.searches if how.probes]
        if not self.searches:
            return {}
        of = {} if self.candidates is None else {"candidates_from": self.candidates}
        if not near:
            return {"search": "exact", **of}
        whole = Search(
            probes=max(how.probes for how in near),
            sampled=sum(how.sampled for how in near),
            pairs=sum(how.pairs for how in near),
            found=sum(how.found for how in near),
        )
        return {
            "search": "approximate",
            **of,
            "recall": round(whole.recall, 4) if whole.pairs else None,
            "sampled_texts": whole.sampled,
            "sampled_pairs": whole.pairs,
            "cells_searched": whole.probes,
        }

    def sentences(self) -> list[str]:
        """For people."""
        told = self.told()
        said = []
        if self.num_without:
            said.append(
                f"{self.num_without:,} texts got a vector that is no number (NaN), and were"
                " compared with nothing: check the embedder"
            )
        if self.searches and self.candidates is not None:
            said.append(
                f"semantic: only pairs whose token vectors have a cosine of {self.candidates:g} or"
                f" more were judged, and of a text at most {AT_MOST}"
            )
        if told.get("search") == "exact":
            what = "semantic" if self.candidates is None else "those pairs"
            said.append(f"{what}: exact, every text compared with all before it")
        elif told:
            pairs, texts = told["sampled_pairs"], told["sampled_texts"]
            what = "semantic" if self.candidates is None else "those pairs"
            how = f"{what}: approximate ({told['cells_searched']} cells a text)"
            said.append(
                f"{how}, recall {told['recall']:.4g} of {pairs:,} close pairs of"
                f" {texts:,} sampled texts"
                if pairs
                else f"{how}, {texts:,} sampled texts have no close pair to measure recall by"
            )
        return said


class Akin:
    """The texts met, and which of them are close; text i is that of record `rows[i]`."""

    def __init__(
        self,
        n: int,
        options: SemanticOptions,
        texts: Texts,
        rows: Array,
        engine: Engine,
        looked: Looked,
    ) -> None:
        self.options, self.texts, self.rows, self.engine = options, texts, rows, engine
        self.is_met = np.zeros(n, bool)
        self.met = np.empty(0, np.int32)  # texts, in the order met
        self.room: Array | None = None  # of the vectors of all texts
        self.vectors = np.empty((0, 0), np.float32)  # theirs
        self.looked = looked
        self.is_cut = np.empty(0, bool)  # whether one has close texts that it does not name
        self.pairs: list[tuple[Array, Array, Array]] = []

    def meet(self, staying: Array, order: Array) -> bool:
        """Meet the texts that stay so far; whether any was new, or close to one unnamed yet."""
        new = staying[~self.is_met[staying]]
        if len(new) == 0:
            return self._look_further(staying, order)
        before = len(self.met)
        self._embed(new, before)
        self.is_met[new] = True
        self.met = np.append(self.met, new)
        options = self.options
        self.looked.candidates = options.candidates if options.is_verified else None
        floor = options.candidates if options.is_verified else options.threshold
        self.texts.watch.begin("parts of all pairs compared")
        found, how = search(
            self.vectors, before, floor, options.recall, self.engine, self.texts.watch.advance
        )
        self.looked.searches.append(how)
        self.is_cut = np.append(self.is_cut, found.is_cut)
        if options.is_verified:
            found = self._verified(found)
        self.pairs.append((self.met[found.one], self.met[found.two], found.score))
        return True

    def links(self, order: Array) -> Links:
        """Each text linked to the close ones tried before it, in the order tried."""
        n = len(self.is_met)
        if not self.pairs:
            return no_links(n)
        one, two, score = (np.concatenate(parts) for parts in zip(*self.pairs, strict=True))
        place = _places(order)
        later = np.where(place[one] > place[two], one, two)
        earlier = np.where(place[one] > place[two], two, one)
        by = np.lexsort((place[earlier], later))
        starts = np.zeros(n + 1, np.int64)
        np.cumsum(np.bincount(later, minlength=n), out=starts[1:])
        return Links(starts, earlier[by].astype(np.int32), n, score[by])

    def _embed(self, new: Array, before: int) -> None:
        """Puts the vectors of texts `new` after the `before` that are there."""
        for rows in self._embedded(new, self.texts.embeds[0]):
            if self.room is None:
                self.room = self.texts.room(len(self.is_met), rows.shape[1])
            self.room[before : before + len(rows)] = rows
            self.looked.num_without += int((~np.isfinite(rows).all(axis=1)).sum())
            before += len(rows)
        if self.room is not None:
            self.vectors = self.room[:before]

    def _embedded(self, texts: Array, embed: Embed) -> Iterator[Array]:
        self.texts.watch.begin("texts embedded", len(texts))
        for some in text_batches(self.texts.read(self.rows[texts]), _BLOCK):
            yield embed(some)

    def _verified(self, found: Pairs) -> Pairs:
        """The pairs that the second embedder finds close, with its cosine."""
        asked, at = np.unique(np.concatenate([found.one, found.two]), return_inverse=True)
        if len(asked) == 0:
            return found
        vectors = np.concatenate(list(self._embedded(self.met[asked], self.texts.embeds[1])))
        one, two = at[: len(found.one)], at[len(found.one) :]
        score = cosines_of(vectors, one, vectors, two)
        good = score >= self.options.threshold
        return Pairs(found.one[good], found.two[good], score[good], found.is_cut)

    def _look_further(self, staying: Array, order: Array) -> bool:
        """Whether a text that stays is close to an earlier one that stays, which it did not name.

        Where pairs are verified, what was not named is not looked for.
        """
        if self.options.is_verified or not self.is_cut.any():
            return False
        place = _places(order)[self.met]
        stays = np.isin(self.met, staying)
        news = []
        for row in np.flatnonzero(self.is_cut & stays):
            bank = np.flatnonzero(stays & (place < place[row]))
            cosines = cosines_of(self.vectors, np.full(len(bank), row), self.vectors, bank)
            hits = np.flatnonzero(cosines >= self.options.threshold)
            if len(hits):
                hit = hits[np.argmin(place[bank[hits]])]
                news.append((self.met[row], self.met[bank[hit]], cosines[hit]))
        if news:
            one, two, score = zip(*news, strict=True)
            self.pairs.append((np.array(one), np.array(two), np.array(score)))
        return bool(news)


def distances_to_centroid(vectors: Array) -> Array:
    """(n,) float64: the squared distance of unit vectors (n, d) to the centroid of their cluster.

    Clusters of about a thousand by k-means; six places, since more are noise. NeMo-Curator calls
    the far ones hard and keeps them, or the near ones, easy.
    """
    is_finite = all(np.isfinite(part).all() for part in np.array_split(vectors, _ROUNDS))
    rows = vectors if is_finite else np.nan_to_num(vectors)
    import faiss  # slow to load, and few runs come here

    kmeans = faiss.Kmeans(rows.shape[1], max(1, len(rows) // _CLUSTER), niter=_ROUNDS, seed=0)
    kmeans.cp.min_points_per_centroid = 1
    kmeans.train(rows)
    found: Array = kmeans.index.search(rows, 1)[0][:, 0]
    return np.round(found.astype(np.float64), 6)


def _places(order: Array) -> Array:
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places
