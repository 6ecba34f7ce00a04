"""CSLS against the definition, computed pair by pair."""

import numpy as np
import pytest

from megastyle_cli.retrieve.csls import csls, mean_similarity


def unit_rows(n, d, seed):
    rows = np.random.default_rng(seed).standard_normal((n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def cosine(a, b):
    return float(np.dot(a.astype(np.float64), b.astype(np.float64)))


def test_csls_equals_the_definition_pair_by_pair():
    queries, bank, k = unit_rows(7, 24, 1), unit_rows(40, 24, 2), 5

    scores = csls(
        queries.astype(np.float64) @ bank.T.astype(np.float64),
        mean_similarity(queries, bank, k),
        mean_similarity(bank, bank, k, np.arange(40)),
    )

    for i, query in enumerate(queries):
        r_query = np.mean(sorted((cosine(query, row) for row in bank), reverse=True)[:k])
        for j, row in enumerate(bank):
            others = (cosine(row, bank[other]) for other in range(40) if other != j)
            r_row = np.mean(sorted(others, reverse=True)[:k])
            direct = 2 * cosine(query, row) - r_query - r_row
            assert scores[i, j] == pytest.approx(direct, abs=1e-12)


def test_a_vector_does_not_count_itself_among_its_neighbours():
    bank = np.eye(4, dtype=np.float32)

    assert mean_similarity(bank, bank, 2, np.arange(4)).tolist() == [0, 0, 0, 0]
    assert mean_similarity(bank, bank, 2).tolist() == [0.5, 0.5, 0.5, 0.5]


def test_the_mean_is_of_the_neighbours_there_are():
    bank = unit_rows(3, 8, 0)

    means = mean_similarity(bank, bank, 10, np.arange(3))

    assert means[0] == pytest.approx((cosine(bank[0], bank[1]) + cosine(bank[0], bank[2])) / 2)
    assert mean_similarity(bank[:1], bank[:1], 10, np.arange(1)).tolist() == [0]


def test_a_hub_loses_to_a_neighbour_nobody_else_has():
    # row 0 is near to all of a crowd, row 3 to the query alone
    rows = np.array([[1, 0.1, 0], [1, 0.2, 0], [1, 0, 0], [0.8, 0, 0.6]], np.float32)
    bank = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    query = np.array([[0.93, 0.05, 0.36]], np.float32)
    query /= np.linalg.norm(query)
    cosines = query @ bank.T

    calibrated = csls(
        cosines, mean_similarity(query, bank, 2), mean_similarity(bank, bank, 2, np.arange(4))
    )

    assert calibrated.argmax() == 3
