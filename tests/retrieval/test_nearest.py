"""Exact nearest rows against brute force."""

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.retrieval import nearest as nearest_module
from megastyle_cli.retrieval.nearest import nearest
from tests.retrieval.vectors import unit_rows


@pytest.mark.parametrize("cells", [1, 300, 2**20])
@pytest.mark.parametrize(("products", "max_rows"), [(1, 9), (37 * 7, 9), (2**22, 64)])
def test_nearest_equals_brute_force_whatever_the_block(monkeypatch, cells, products, max_rows):
    monkeypatch.setattr(nearest_module, "RESCORE_CELLS", cells)
    monkeypatch.setattr(nearest_module, "PRODUCTS", products)
    monkeypatch.setattr(nearest_module, "MAX_ROWS", max_rows)
    queries, bank = unit_rows(37, 16, 1), unit_rows(200, 16, 2)

    scores, rows = nearest(queries, bank, 5)

    exact = queries.astype(np.float64) @ bank.T.astype(np.float64)
    assert rows.tolist() == np.argsort(-exact, axis=1, kind="stable")[:, :5].tolist()
    assert scores == pytest.approx(np.take_along_axis(exact, rows, axis=1))


def test_ties_go_to_the_lower_row():
    bank = unit_rows(7, 64)[[0, 1, 2, 1, 0, 1, 3, 1, 4, 5, 1, 6]]

    _, rows = nearest(unit_rows(7, 64)[[1]], bank, 4)

    assert rows.tolist() == [[1, 3, 5, 7]]


def test_a_result_does_not_depend_on_the_other_queries():
    queries, bank = unit_rows(33, 96, 1), unit_rows(500, 96, 2)

    together = nearest(queries, bank, 20)
    alone = [nearest(query[None], bank, 20) for query in queries]

    assert np.array_equal(together[0], np.concatenate([scores for scores, _ in alone]))
    assert np.array_equal(together[1], np.concatenate([rows for _, rows in alone]))


def test_k_is_cut_to_the_number_of_rows():
    scores, rows = nearest(unit_rows(2, 4), unit_rows(3, 4, 1), 10)

    assert scores.shape == rows.shape == (2, 3)
    assert sorted(rows[0]) == [0, 1, 2]


def test_excluded_rows_are_not_found_and_leave_the_rest_empty():
    bank = unit_rows(4, 8)

    scores, rows = nearest(bank[:2], bank, 4, excluded=[[0, 2], []])

    assert set(rows[0, :2]) == {1, 3}
    assert rows[0, 2:].tolist() == [-1, -1]
    assert np.isneginf(scores[0, 2:]).all()
    assert rows[1, 0] == 1


def test_an_error_names_both_widths():
    with pytest.raises(MegastyleError, match="768 dimensions, the index has 1152"):
        nearest(unit_rows(1, 768), unit_rows(1, 1152), 1)


def test_of_many_equal_rows_the_lowest_are_found():
    bank = np.repeat(unit_rows(2, 32), 400, axis=0)[np.random.default_rng(0).permutation(800)]
    best = np.flatnonzero((bank == bank[5]).all(axis=1))

    scores, rows = nearest(bank[[5]], bank, 30)

    assert rows[0].tolist() == best[:30].tolist()
    assert len(set(scores[0])) == 1


def test_queries_with_few_allowed_rows_do_not_change_the_others():
    queries, bank = unit_rows(3, 16, 1), unit_rows(100, 16, 2)

    _, rows = nearest(queries, bank, 5, [range(98), [], []])

    assert sorted(rows[0, :2]) == [98, 99]
    assert rows[0, 2:].tolist() == [-1, -1, -1]
    assert np.array_equal(rows[1:], nearest(queries[1:], bank, 5)[1])
