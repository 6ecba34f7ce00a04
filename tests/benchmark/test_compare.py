"""Comparisons: intervals, tests, ranks, and false alarms among equal systems."""

import numpy as np
import pytest

from megastyle_cli.benchmark.compare import (
    compare,
    max_t_intervals,
    tie_letters,
)
from megastyle_cli.evaluate.metrics import bootstrap_interval

GROUPS = np.repeat(np.arange(40), 3)


def noisy(means, seed=1, groups=GROUPS):
    """Values (s, q) around `means`, with an effect of the group that the systems share."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=groups.max() + 1)[groups]
    return np.array(means)[:, None] + shared + 0.5 * rng.normal(size=(len(means), len(groups)))


def test_copies_of_one_system_differ_by_0_have_p_1_and_share_all_ranks():
    values = np.tile(noisy([0.0]), (4, 1))

    found = compare(values, GROUPS, draws=500)

    assert (found.diff == 0).all() and (found.simultaneous == 0).all()
    assert (found.p == 1).all() and (found.p_holm == 1).all()
    assert found.rank.tolist() == [[1, 4]] * 4 and not found.differs.any()


def test_swapped_systems_have_opposite_differences_exactly():
    values = noisy([0.0, 0.4])

    one, other = (compare(v, GROUPS, draws=500) for v in (values, values[::-1]))

    assert one.diff == -other.diff and one.p == other.p
    assert np.allclose(one.pointwise, -other.pointwise[:, ::-1], atol=1e-12)
    assert np.allclose(one.simultaneous, -other.simultaneous[:, ::-1], atol=1e-12)


def test_the_interval_of_a_mean_is_the_bootstrap_over_groups():
    values = noisy([0.0])

    low, high = compare(values, GROUPS).interval[0]

    expected = bootstrap_interval([values[0, g == GROUPS] for g in range(40)], draws=10_000)
    assert (low, high) == pytest.approx(expected, abs=0.02)


def test_pairing_removes_what_the_systems_share():
    found = compare(noisy([0.0, 0.4]), GROUPS, draws=1000)

    widths = np.diff(found.interval, axis=1)[:, 0]
    assert np.diff(found.pointwise)[0, 0] < widths.min() / 2
    assert found.differs.all() and found.rank.tolist() == [[2, 2], [1, 1]]


def test_lower_values_may_be_the_better_ones():
    found = compare(noisy([0.0, 0.6]), GROUPS, draws=500, higher_is_better=False)

    assert found.rank.tolist() == [[1, 1], [2, 2]]


def test_intervals_by_group_are_wider_where_groups_are_copies():
    """Four styles of a group that answer alike are one observation, not four."""
    styles = np.arange(160)
    values = np.repeat(noisy([0.0, 0.1], groups=np.arange(40)), 4, axis=1)

    by_style, by_group = compare(values, styles), compare(values, styles // 4)

    ratio = np.diff(by_group.interval) / np.diff(by_style.interval)
    assert (ratio > 1.7).all() and (ratio < 2.3).all()  # sqrt(4)
    assert np.diff(by_group.simultaneous) > np.diff(by_style.simultaneous)


def test_equal_systems_are_told_apart_in_7_percent_of_tables_at_most():
    """1,000 tables of 12 equal systems, each compared with the first one.

    Judged interval by interval, a third of the tables have a false alarm.
    """
    rng = np.random.default_rng(1)
    tables, systems, groups, draws = 1000, 12, 40, 400
    shared = rng.normal(0.8, 1, size=(tables, 1, groups, 1))
    is_hit = shared + rng.normal(size=(tables, systems, groups, 4)) > 0
    values = is_hit.mean(axis=3).reshape(-1, groups)  # (tables * systems, groups)
    weights = rng.multinomial(groups, np.full(groups, 1 / groups), size=draws) / groups
    drawn = (weights @ values.T).reshape(draws, tables, systems)
    means = values.mean(axis=1).reshape(tables, systems)

    alarms = by_interval = 0
    for table in range(tables):
        diff = means[table, 1:] - means[table, 0]
        drawn_diff = drawn[:, table, 1:] - drawn[:, table, :1]
        interval = max_t_intervals(diff, drawn_diff, groups)
        alarms += bool(((interval[:, 0] > 0) | (interval[:, 1] < 0)).any())
        low, high = np.quantile(drawn_diff, (0.025, 0.975), axis=0)
        by_interval += bool(((low > 0) | (high < 0)).any())

    assert 0.01 <= alarms / tables <= 0.07
    assert by_interval / tables > 0.25


def test_few_groups_have_exact_sign_tests_and_no_intervals():
    groups = np.arange(12)
    values = np.stack([np.zeros(12), np.ones(12), np.where(groups < 6, 1.0, -1)])

    found = compare(values, groups)

    assert found.interval is None and found.simultaneous is None and found.versus is None
    assert found.p.tolist() == [2 / 2**12, 1.0, 2 / 2**6]
    assert found.differs.tolist() == [True, False, False]  # 2 / 2**6 twice is above 5 %


def test_systems_that_are_not_told_apart_share_a_letter():
    pairs = np.array([(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)])
    differs = np.array([False, True, False, True, True, True])

    assert tie_letters([0, 1, 2, 3], pairs, differs) == ["a", "ab", "b", "c"]
    assert tie_letters([2, 1, 0, 3], pairs, differs) == ["b", "ab", "a", "c"]


def test_two_systems_are_told_apart_if_and_only_if_they_share_no_letter():
    rng = np.random.default_rng(7)
    pairs = np.array([(i, j) for j in range(7) for i in range(j)])
    for _ in range(50):
        differs = rng.random(len(pairs)) < 0.5

        letters = tie_letters(rng.permutation(7).tolist(), pairs, differs)

        shared = [bool(set(letters[i]) & set(letters[j])) for i, j in pairs]
        assert shared == (~differs).tolist()
