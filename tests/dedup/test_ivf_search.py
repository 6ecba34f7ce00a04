"""Approximate neighbors against all pairs: no false pair, and the recall that is stated."""

import numpy as np
import pytest

from megastyle_cli.compute.engine import LocalEngine
from megastyle_cli.dedup import ivf_search, pairwise
from megastyle_cli.dedup.ivf_search import search_neighbors
from megastyle_cli.dedup.pairwise import NeighborPairs

THRESHOLD = 0.9


def vectors(count: int, seed: int = 0) -> np.ndarray:
    """Random unit rows (count, 7): most close pairs lie in two cells."""
    rows = np.random.default_rng(seed).normal(size=(count, 7))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def true_pairs(rows: np.ndarray, start: int = 0) -> dict[tuple[int, int], float]:
    cosines = np.round(rows.astype(np.float64) @ rows.T.astype(np.float64), 6)
    one, two = np.nonzero(np.tril(cosines >= THRESHOLD, -1))
    return {
        (a, b): cosines[a, b] for a, b in zip(one.tolist(), two.tolist(), strict=True) if a >= start
    }


def pairs_of(found: NeighborPairs) -> dict[tuple[int, int], float]:
    listed = zip(found.one.tolist(), found.two.tolist(), found.score.tolist(), strict=True)
    return {(a, b): score for a, b, score in listed}


@pytest.mark.parametrize("start", [0, 2500])
def test_every_pair_found_is_true_and_nearly_all_are_found(start: int) -> None:
    rows = vectors(4000)

    found, how = search_neighbors(rows, start, THRESHOLD, 0.99, LocalEngine(1))

    true, got = true_pairs(rows, start), pairs_of(found)
    assert how.probes and got.items() <= true.items()
    assert len(found.one) == len(got) >= 0.985 * len(true) > 1000  # each pair once
    assert not found.is_truncated.any() and len(found.is_truncated) == 4000 - start


def test_the_recall_stated_is_that_of_all_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ivf_search, "FIRST_PROBES", 1)
    rows = vectors(3000, seed=1)

    found, how = search_neighbors(rows, 0, THRESHOLD, 0.5, LocalEngine(1))

    true = len(pairs_of(found)) / len(true_pairs(rows))
    assert how.probes == 1 and true < 0.98 and how.recall == pytest.approx(true, abs=0.03)


def test_more_cells_are_searched_until_the_recall_is_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ivf_search, "FIRST_PROBES", 1)
    rows = vectors(4000, seed=2)

    lax = search_neighbors(rows, 0, THRESHOLD, 0.5, LocalEngine(1))[1]
    strict = search_neighbors(rows, 0, THRESHOLD, 0.98, LocalEngine(1))[1]

    assert 0.5 <= lax.recall < 0.98 <= strict.recall and lax.probes < strict.probes


@pytest.mark.parametrize(("enough_pairs", "share"), [(1, 100), (10**9, 20)])
def test_recall_is_measured_on_one_vector_in_a_hundred_or_twenty_if_they_have_few_pairs(
    enough_pairs: int, share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ivf_search, "MIN_SAMPLE", 10)
    monkeypatch.setattr(ivf_search, "MIN_SAMPLE_PAIRS", enough_pairs)

    _, recall = search_neighbors(vectors(4000), 1000, THRESHOLD, 0.5, LocalEngine(1))

    assert recall.sampled == 3000 // share


def test_workers_and_blocks_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = vectors(3000, seed=3)
    found, how = search_neighbors(rows, 0, THRESHOLD, 0.99, LocalEngine(1))
    monkeypatch.setattr(ivf_search, "BLOCK", 77)
    monkeypatch.setattr(ivf_search, "_MAX_BUFFERED", 100)

    again, recall = search_neighbors(rows, 0, THRESHOLD, 0.99, LocalEngine(3))

    assert recall == how
    for part in ("one", "two", "score", "is_truncated"):
        assert np.array_equal(getattr(found, part), getattr(again, part))


@pytest.mark.parametrize("held", [100, 1 << 22])
def test_of_many_equal_vectors_the_first_are_listed_and_rows_with_more_are_marked(
    monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    for module in (ivf_search, pairwise):
        monkeypatch.setattr(module, "MAX_NEIGHBORS", 5)
    monkeypatch.setattr(ivf_search, "_MAX_BUFFERED", held)
    monkeypatch.setattr(ivf_search, "BLOCK", 64)
    rows = np.repeat(vectors(2000)[:1], 2000, axis=0)

    found, _ = search_neighbors(rows, 0, THRESHOLD, 0.99, LocalEngine(2))

    assert pairs_of(found) == {(a, b): 1.0 for a in range(2000) for b in range(min(a, 5))}
    assert found.is_truncated.tolist() == [row > 5 for row in range(2000)]


def test_vectors_with_nan_have_no_neighbors_and_affect_no_others() -> None:
    rows = vectors(3000)
    rows[::7] = np.nan

    found, how = search_neighbors(rows, 0, THRESHOLD, 0.99, LocalEngine(1))

    true = true_pairs(np.nan_to_num(rows))
    assert how.probes and pairs_of(found).items() <= true.items()
    assert len(found.one) >= 0.985 * len(true)


def test_a_sample_without_close_pairs_has_none() -> None:
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(3000, 64))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    found, how = search_neighbors(rows, 0, THRESHOLD, 0.99, LocalEngine(1))

    assert how.pairs == len(found.one) == 0 and how.probes == ivf_search.FIRST_PROBES
