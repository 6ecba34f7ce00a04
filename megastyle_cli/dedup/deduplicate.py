"""Finds exact, near and semantic duplicates among texts; one text of each group is kept.

One rule for all three stages: texts are visited in order, and a text is a duplicate if it is close
enough to a text *kept* before it. A duplicate therefore always names a record that is kept and
close to it, and distinct texts are never dropped through a chain of texts between them. Ours; the
three stages are those of NeMo-Curator (exact, MinHash, embeddings), which joins by chains and does
not verify candidates.

Texts are read once, in blocks, and not held in memory: their signatures are (`SignatureStore`).
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.engine import Engine
from megastyle_cli.compute.jit import compile_beside
from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.dedup.config import DedupConfig
from megastyle_cli.dedup.exact import HashIndex, count_characters, normalize_block, text_keys
from megastyle_cli.dedup.near import AdjacencyList, band_buckets, merge_bands, select_greedily
from megastyle_cli.dedup.ngrams import mark_common
from megastyle_cli.dedup.options import ExactText, KeepPolicy
from megastyle_cli.dedup.semantic import (
    SearchStats,
    SemanticLinker,
    TextSource,
    distances_to_centroid,
)
from megastyle_cli.dedup.signatures import SignatureStore, compute_signatures
from megastyle_cli.io.embedding_cache import EmbedTexts
from megastyle_cli.runner.progress import Stage

Array = npt.NDArray[Any]
StageName = Literal["exact", "near", "semantic"]
# modules whose functions `compile_ahead` compiles first
COMPILED_BESIDE = tuple(
    f"megastyle_cli.{name}."
    for name in ("dedup.ngrams", "dedup.signatures", "dedup.near", "io.raw_jsonl.batches")
)
STAGES: tuple[StageName, ...] = ("exact", "near", "semantic")  # in the order they are applied


@dataclass(frozen=True, kw_only=True)
class Duplicate:
    """Record number `row` duplicates the kept record `duplicate_of`; `score` is in [0, 1]."""

    row: int
    duplicate_of: int
    stage: StageName
    score: float


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """For each of n records: kept, or dropped by which stage as a duplicate of which kept record.

    A copy of a text that was itself dropped duplicates the record that text duplicates, with the
    same score.
    """

    stage: Array  # (n,) uint8: 0 if kept, else 1 + the index in STAGES
    duplicate_of: Array  # (n,) int64: itself if kept
    score: Array  # (n,) float64
    is_copy: Array  # (n,) bool: another record represents its text
    seconds: dict[StageName, float] = field(default_factory=dict)
    search: SearchStats = field(default_factory=SearchStats)

    def __len__(self) -> int:
        return len(self.stage)

    def __iter__(self) -> Iterator[Duplicate]:
        return map(self.duplicate, self.dropped_rows().tolist())

    def kept_rows(self) -> Array:
        """The records that are kept."""
        return np.flatnonzero(self.stage == 0)

    def dropped_rows(self) -> Array:
        """The records that are dropped."""
        return np.flatnonzero(self.stage)

    def duplicate(self, row: int) -> Duplicate:
        """The decision on a record that is dropped."""
        return Duplicate(
            row=row,
            duplicate_of=int(self.duplicate_of[row]),
            stage=STAGES[self.stage[row] - 1],
            score=float(self.score[row]),
        )


def collect_signatures(
    blocks: Iterable[StringArray], config: DedupConfig, engine: Engine
) -> SignatureStore:
    """Reads all texts: finds exact duplicates and computes the signatures of distinct texts."""
    started = time.perf_counter()
    compile_beside("megastyle_cli.dedup.compile_ahead", COMPILED_BESIDE)
    store = SignatureStore(config.near)
    texts = _distinct_texts(blocks, config.exact, store)
    for signatures in engine.map(compute_signatures, texts, config.near):
        store.add_signatures(signatures)
    store.seconds = time.perf_counter() - started
    return store


def _distinct_texts(
    blocks: Iterable[StringArray], exact: ExactText | None, store: SignatureStore
) -> Iterator[StringArray]:
    """The texts of each block that did not occur before, normalized; adds all records to `store`.

    With `exact` None every text counts as distinct.
    """
    known = HashIndex()
    for texts in blocks:
        normalized = normalize_block(texts)
        if exact is None:
            numbers = np.arange(store.num_texts, store.num_texts + len(texts), dtype=np.int32)
        else:
            numbers = known.add(text_keys(texts if exact == "raw" else normalized))
        first = store.add_records(numbers, count_characters(texts))
        yield normalized.take(first)


def find_duplicates(
    store: SignatureStore,
    config: DedupConfig,
    texts: TextSource,
    embedders: Sequence[EmbedTexts],
    engine: Engine,
    progress: Stage,
) -> Decisions:
    """Decides which records are kept.

    `texts` is read for the semantic stage (`embedders` as in `SemanticLinker`), and for ids unless
    the first record of a group is kept.
    """
    started = time.perf_counter()
    near, n = config.near, store.num_texts
    ranks = None if config.keep == "first" else _ranks(texts.ids())
    representatives = _representatives(store, config.keep, ranks)
    buckets = merge_bands(engine.map(band_buckets, store.band_keys()), n)
    ngrams = store.ngram_sets()
    if near and near.template:
        mark_common(ngrams.hashes, n, near.template)
    linker = None
    if config.semantic:
        semantic = config.semantic
        linker = SemanticLinker(semantic, texts, representatives, embedders, engine, progress)
    order = _visiting_order(store, config.keep, representatives, ranks, linker)
    seconds: dict[StageName, float] = {"exact": store.seconds}
    is_final = False
    while not is_final:  # the semantic stage embeds only what the others keep, until that is stable
        links = linker.adjacency(order) if linker else AdjacencyList.empty(n)
        progress.begin("texts compared", len(order))
        selected = select_greedily(order, ngrams, buckets, near, links, progress.advance)
        seconds.setdefault("near", time.perf_counter() - started)
        kept = order[selected[0] == 0]
        is_final = linker is None or not linker.embed_and_link(kept, order)
    seconds["semantic"] = time.perf_counter() - started - seconds["near"]
    return _decide_records(
        store.text_numbers.rows(),
        representatives,
        order,
        *selected,
        seconds=seconds,
        search=linker.stats if linker else SearchStats(),
    )


def _representatives(store: SignatureStore, keep: KeepPolicy, ranks: Array | None) -> Array:
    """The record that represents each text, (u,): the first, the longest, or that of least id."""
    if ranks is None:
        return store.first_records.rows()
    text_numbers = store.text_numbers.rows()
    lengths = store.lengths.rows() if keep == "longest" else np.zeros_like(ranks)
    order = np.lexsort((ranks, -lengths, text_numbers))
    _, first = np.unique(text_numbers[order], return_index=True)
    return order[first]


def _visiting_order(
    store: SignatureStore,
    keep: KeepPolicy,
    representatives: Array,
    ranks: Array | None,
    linker: SemanticLinker | None,
) -> Array:
    """The texts in the order they are visited, (u,) int32; ties go to the lesser id."""
    if ranks is None:
        return np.arange(len(representatives), dtype=np.int32)
    ranks = ranks[representatives]
    if keep == "longest":
        first = -store.lengths.rows()[representatives].astype(np.float64)
    elif linker is not None and len(representatives):
        canonical = np.argsort(ranks).astype(np.int32)
        linker.embed_and_link(canonical, canonical)
        first = np.empty(len(representatives))
        first[canonical] = distances_to_centroid(linker.vectors) * (-1 if keep == "hard" else 1)
    else:
        first = np.empty(0)
    order: Array = np.lexsort((ranks, first)).astype(np.int32)
    return order


def _ranks(ids: Iterable[str]) -> Array:
    """The rank (n,) of each id among all; equal ids in the order given."""
    listed = list(ids)
    ranks = np.empty(len(listed), np.int64)
    ranks[sorted(range(len(listed)), key=listed.__getitem__)] = np.arange(len(listed))
    return ranks


def _decide_records(
    text_numbers: Array,
    representatives: Array,
    order: Array,
    stage: Array,
    duplicate_of: Array,
    score: Array,
    *,
    seconds: dict[StageName, float],
    search: SearchStats,
) -> Decisions:
    """Decisions on records from those on texts, which are given in visiting order."""
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    position = position[text_numbers]  # (n,) of the text of each record
    stage, score = stage[position], score[position]
    duplicate_of = representatives[duplicate_of[position]]
    rows = np.arange(len(text_numbers))
    # an exact copy of a text that is kept; copies of dropped texts have that text's decision
    stage[(stage == 0) & (duplicate_of != rows)] = 1
    return Decisions(
        stage=stage,
        duplicate_of=duplicate_of,
        score=score,
        is_copy=representatives[text_numbers] != rows,
        seconds=seconds,
        search=search,
    )
