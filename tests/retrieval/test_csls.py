"""CSLS against the definition, computed pair by pair."""

import tracemalloc

import numpy as np
import pytest

from megastyle_cli.retrieval import csls
from megastyle_cli.retrieval.artifact_cache import ArtifactCache
from megastyle_cli.retrieval.csls import (
    CslsReranker,
    ExactCslsSearcher,
    bank_similarity,
    mean_similarity,
)
from megastyle_cli.retrieval.nearest import ExactSearcher
from tests.retrieval.vectors import cosines, csls_matrix, grouped_rows, unit_rows


def exact_csls(bank):
    exact = ExactSearcher(bank)
    return ExactCslsSearcher(exact, bank_similarity(exact, bank))


def test_mean_similarity_is_that_of_the_nearest_rows():
    queries, bank = unit_rows(7, 24, 1), unit_rows(40, 24, 2)

    means = mean_similarity(queries, bank, 5)

    expected = np.sort(cosines(queries, bank), axis=1)[:, -5:].mean(axis=1)
    assert means == pytest.approx(expected, abs=1e-12)


def test_a_vector_does_not_count_itself_among_its_neighbours():
    bank = np.eye(4, dtype=np.float32)

    assert mean_similarity(bank, bank, 2, np.arange(4)).tolist() == [0, 0, 0, 0]
    assert mean_similarity(bank, bank, 2).tolist() == [0.5, 0.5, 0.5, 0.5]


def test_with_fewer_rows_than_neighbours_the_mean_is_over_those_there_are():
    bank = unit_rows(3, 8, 0)
    direct = cosines(bank, bank)

    means = mean_similarity(bank, bank, 10, np.arange(3))

    assert means[0] == pytest.approx((direct[0, 1] + direct[0, 2]) / 2)
    assert mean_similarity(bank[:1], bank[:1], 10, np.arange(1)).tolist() == [0]


def test_a_hub_loses_to_a_neighbour_of_the_query_alone(monkeypatch):
    # row 0 is close to all of a crowd, row 3 to the query alone
    monkeypatch.setattr(csls, "NEIGHBORS", 2)
    rows = np.array([[1, 0.1, 0], [1, 0.2, 0], [1, 0, 0], [0.8, 0, 0.6]], np.float32)
    bank = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    query = np.array([[0.93, 0.05, 0.36]], np.float32)
    query /= np.linalg.norm(query)

    _, rows = exact_csls(bank).search(query, 1)

    assert rows.tolist() == [[3]]


@pytest.mark.parametrize("rows_at_a_time", [7, 8192])
@pytest.mark.parametrize("searcher", [ExactCslsSearcher, CslsReranker])
def test_scores_equal_the_definition_over_all_rows(searcher, rows_at_a_time, monkeypatch):
    monkeypatch.setattr(csls, "WIDENED_ROWS", rows_at_a_time)
    monkeypatch.setattr(csls, "BLOCK", rows_at_a_time)
    bank, queries = grouped_rows(60), grouped_rows(10, seed=3)
    exact = ExactSearcher(bank)

    # of 60 rows the reranker takes all as candidates
    scores, rows = searcher(exact, bank_similarity(exact, bank)).search(queries, 6)

    direct = csls_matrix(queries, bank)
    assert rows.tolist() == np.argsort(-direct, axis=1)[:, :6].tolist()
    assert scores == pytest.approx(np.take_along_axis(direct, rows, axis=1), abs=1e-6)


def test_results_do_not_depend_on_the_block_size(monkeypatch):
    bank, queries = np.concatenate([grouped_rows(60), grouped_rows(60)]), grouped_rows(20, seed=1)
    excluded = [[3, 70], [], *[[row, row + 60] for row in range(18)]]
    scores_at_once, rows_at_once = exact_csls(bank).search(queries, 118, excluded)
    monkeypatch.setattr(csls, "WIDENED_ROWS", 16)

    scores, rows = exact_csls(bank).search(queries, 118, excluded)

    assert np.array_equal(rows, rows_at_once)
    assert np.array_equal(scores, scores_at_once)
    assert not set(excluded[0]) & set(rows[0])


def test_only_a_block_of_the_vectors_is_copied_at_a_time():
    bank = grouped_rows(40_960, d=128)  # 21 MB
    searcher = ExactCslsSearcher(ExactSearcher(bank), np.zeros(len(bank)))
    tracemalloc.start()

    searcher.search(bank[:2], 10)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < bank.nbytes / 2


def test_cached_similarity_is_used_for_the_same_rows_only(tmp_path):
    bank, cache = grouped_rows(300), ArtifactCache(tmp_path)
    exact = ExactSearcher(bank)
    first = bank_similarity(exact, bank, cache)
    other = ExactSearcher(-bank[::-1])  # would give other numbers if it were asked

    cached = bank_similarity(other, bank, cache)
    grown = bank_similarity(exact, bank[:200], cache)

    assert np.array_equal(cached, first)
    assert len(grown) == 200
