"""The semantic stage applies the rule of dedup to cosines, and says how it searched."""

from itertools import combinations

import numpy as np
import pytest

from megastyle_cli.dedup import ivf_search, pairwise, semantic
from megastyle_cli.dedup.config import DedupConfig, SemanticConfig
from megastyle_cli.dedup.ivf_search import SearchRecall
from megastyle_cli.dedup.semantic import SearchStats, distances_to_centroid
from megastyle_cli.models.builtin.text_embedder import StaticEmbedder
from tests.dedup.helpers import Array, decide, first_kept, lookup, numbered, pairs_of, unit


def groups(count: int, centers: int, noise: float, width: int = 24, seed: int = 0) -> Array:
    """Unit vectors around random centers."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(centers, width))
    return unit(points[rng.integers(0, centers, count)] + rng.normal(0, noise, (count, width)))


def exact_cosines(vectors: Array) -> Array:
    cosines: Array = np.round(vectors.astype(np.float64) @ vectors.T.astype(np.float64), 6)
    return cosines


def test_semantic_duplicates_equal_the_rule_applied_to_all_pairs() -> None:
    vectors = groups(2500, 300, 0.15)
    cosines = exact_cosines(vectors)
    config = DedupConfig(semantic=SemanticConfig(threshold=0.95))

    found = list(decide(numbered(2500), config, [lookup(vectors)]))

    expected = first_kept(2500, lambda a, b: cosines[a, b], 0.95)
    assert len(expected) > 500
    assert pairs_of(found) == expected
    assert [one.score for one in found] == [cosines[pair] for pair in expected]


@pytest.mark.parametrize("most", [1, 2])
def test_a_text_with_more_neighbors_than_are_listed_duplicates_the_first_kept_one(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairwise, "MAX_NEIGHBORS", most)
    vectors = groups(600, 12, 0.25, width=8, seed=1)
    cosines = exact_cosines(vectors)
    config = DedupConfig(semantic=SemanticConfig(threshold=0.9))

    found = pairs_of(decide(numbered(600), config, [lookup(vectors)]))

    dropped = dict(found)
    kept = [row for row in range(600) if row not in dropped]
    assert all(cosines[a, b] < 0.9 for a, b in combinations(kept, 2))
    assert all(of not in dropped and cosines[row, of] >= 0.9 for row, of in found)
    rule = dict(first_kept(600, lambda a, b: cosines[a, b], 0.9))
    assert kept == [row for row in range(600) if row not in rule]


def test_equal_vectors_thousands_of_times_leave_one_and_few_pairs_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pairwise, "MAX_NEIGHBORS", 8)
    monkeypatch.setattr(ivf_search, "MAX_NEIGHBORS", 8)
    row = unit(np.ones((1, 8)))
    config = DedupConfig(exact=None, semantic=SemanticConfig())
    for max_exact in (5_000_000_000, 0):  # all pairs, then cells
        monkeypatch.setattr(semantic, "MAX_EXACT", max_exact)
        found = decide(["same"] * 4000, config, [lambda some: np.repeat(row, len(some), axis=0)])
        assert pairs_of(found) == [(at, 0) for at in range(1, 4000)]


def test_a_recall_of_one_compares_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semantic, "MAX_EXACT", 0)
    config = DedupConfig(semantic=SemanticConfig(recall=1.0))

    found = decide(
        numbered(50), config, [lookup(unit(np.random.default_rng(0).normal(size=(50, 3))))]
    )

    assert found.search.searches == [SearchRecall()]


@pytest.mark.parametrize("keep", ["first", "hard"])
def test_a_vector_with_nan_is_close_to_nothing(keep: str) -> None:
    vectors = np.array([[1, 0], [np.nan, np.nan], [1, 0], [np.nan, 0]], np.float32)
    config = DedupConfig(semantic=SemanticConfig(), keep=keep)  # type: ignore[arg-type]

    found = decide(numbered(4), config, [lookup(vectors)])

    assert [{*pair} for pair in pairs_of(found)] == [{0, 2}]
    assert found.search.num_not_finite == 2


def test_an_embedder_that_returns_nan_loses_no_text_and_is_reported() -> None:
    config = DedupConfig(exact=None, semantic=SemanticConfig())
    embed = lambda some: np.full((len(some), 4), np.nan, np.float32)  # noqa: E731

    decisions = decide(["a", "b", "c"], config, [embed])

    assert list(decisions) == []
    assert "3 texts have an embedding that is not a number (NaN)" in decisions.search.remarks()[0]


def test_verified_pairs_are_close_by_both_embedders() -> None:
    first = unit(np.array([[1, 0], [1, 0.1], [1, -0.1], [0, 1]]))
    second = unit(np.array([[1, 0], [1, 0.01], [0, 1], [1, 0]]))
    config = SemanticConfig(threshold=0.99, is_verified=True, candidates=0.9)

    found = list(decide(numbered(4), DedupConfig(semantic=config), [lookup(first), lookup(second)]))

    assert pairs_of(found) == [(1, 0)]
    assert found[0].score == exact_cosines(second)[0, 1]  # the second embedder's


def test_a_text_is_embedded_once_and_only_if_the_other_stages_keep_it() -> None:
    embedded: list[str] = []

    def embed(texts: list[str]) -> Array:
        embedded.extend(texts)
        return StaticEmbedder().embed(texts)

    config = DedupConfig(semantic=SemanticConfig(threshold=0.9))
    decide(["teal", "Teal", "ochre ink", "TEAL ", "ochre  ink"], config, [embed])

    assert embedded == ["teal", "ochre ink"]


def test_how_many_texts_are_embedded_at_a_time_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors = groups(200, 20, 0.15)
    config = DedupConfig(semantic=SemanticConfig(threshold=0.95))
    whole = list(decide(numbered(200), config, [lookup(vectors)]))

    monkeypatch.setattr(semantic, "_BLOCK", 7)

    assert list(decide(numbered(200), config, [lookup(vectors)])) == whole != []


def test_captions_that_differ_in_one_attribute_do_not_mean_the_same() -> None:
    sentence = (
        "In the style of {}, {} with {} accents, {} lighting, {} surface, {} edges, {}, in {}."
    )
    seen = ["flat poster", "teal", "orange", "upper left", "smooth", "soft", "broad impasto", "ink"]
    other = ["pixel art", "red", "cream", "dim right", "rough", "sharp", "fine wash", "oil paint"]
    texts = [sentence.format(*seen)]
    texts += [sentence.format(*seen[:i], other[i], *seen[i + 1 :]) for i in range(len(seen))]

    found = decide(texts, DedupConfig(semantic=SemanticConfig()), [StaticEmbedder().embed])

    assert list(found) == []


def test_distances_are_those_to_the_centroid_of_the_own_cluster() -> None:
    vectors = groups(200, 3, 0.2)  # fewer than a thousand texts are one cluster

    distances = distances_to_centroid(vectors)

    true = ((vectors - vectors.mean(axis=0)) ** 2).sum(axis=1)
    assert distances == pytest.approx(true, abs=1e-4)
    assert np.array_equal(distances, np.round(distances, 6))


def test_a_verified_search_does_not_claim_to_have_compared_all_pairs() -> None:
    stats = SearchStats(searches=[SearchRecall()], candidates=0.85)

    first, second = stats.remarks()

    assert stats.as_dict() == {"search": "exact", "candidates_from": 0.85}
    assert "cosine of 0.85 or more" in first and "those pairs: exact" in second
    assert SearchStats(searches=[SearchRecall()]).remarks() == [
        "semantic: exact, all pairs were compared"
    ]


def test_the_recall_of_several_searches_is_that_of_all_their_samples() -> None:
    searches = [
        SearchRecall(),
        SearchRecall(probes=8, sampled=1000, pairs=300, found=297),
        SearchRecall(probes=16, sampled=1000, pairs=100, found=99),
    ]

    stats = SearchStats(searches=searches)

    assert stats.as_dict() == {
        "search": "approximate",
        "recall": 0.99,
        "sampled_texts": 2000,
        "sampled_pairs": 400,
        "cells_searched": 16,
    }
    assert stats.remarks() == [
        "semantic: approximate (16 cells per text), recall 0.99 of 400 close pairs of"
        " 2,000 sampled texts"
    ]


def test_a_sample_without_close_pairs_states_no_recall() -> None:
    stats = SearchStats(searches=[SearchRecall(probes=8, sampled=1000)])

    assert stats.as_dict()["recall"] is None
    assert stats.remarks() == [
        "semantic: approximate (8 cells per text), 1,000 sampled texts have no close pairs to"
        " measure the recall on"
    ]


def test_without_a_search_there_is_nothing_to_say() -> None:
    assert SearchStats().as_dict() == {} and SearchStats().remarks() == []
