"""The assignment step: every point at the best of the centroids that it is compared with."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from megastyle_cli.cluster import kmeans_assign
from megastyle_cli.cluster.kmeans_assign import (
    Assignment,
    Centroids,
    NeighborSearch,
    Round,
    assign_by_cells,
    assign_by_lists,
    cell_members,
    list_neighbors,
    weigh_centroids,
)
from megastyle_cli.cluster.kmeans_init import train_cells
from megastyle_cli.compute.engine import LocalEngine
from tests.cluster.test_kmeans import attribute_vectors

Array = npt.NDArray[Any]


def assigned(points: Array, labels: Array, means: Array) -> Assignment:
    distances = ((points - means[labels]) ** 2).sum(axis=1)
    squares = (points**2).sum(axis=1)
    return Assignment(
        vectors=points, squares=squares, labels=labels.copy(), distances=distances.copy()
    )


def costs(points: Array, labels: Array, centroids: Centroids) -> Array:
    """The cost (n, k) of every cluster by Hartigan's rule, in float64."""
    means = centroids.means.astype(np.float64)
    distances = ((points[:, None].astype(np.float64) - means[None]) ** 2).sum(axis=2)
    by_cluster = distances * centroids.join
    by_cluster[:, ~np.isfinite(centroids.halves)] = np.inf
    at = np.arange(len(points))
    by_cluster[at, labels] = distances[at, labels] * centroids.leave[labels]
    return by_cluster


def problem(n: int, k: int, *, is_plain: bool) -> tuple[Array, Array, Centroids]:
    """Points, their random clusters, and centroids with the sizes of those clusters."""
    points, means = attribute_vectors(n), attribute_vectors(k, seed=5)
    labels = np.random.default_rng(0).integers(0, k - 2, n)  # two clusters are empty
    sizes = np.bincount(labels, minlength=k)
    return points, labels, weigh_centroids(means, sizes, is_plain=is_plain)


def test_hartigans_factors_are_the_changes_of_the_objective() -> None:
    rng = np.random.default_rng(0)
    for size in (2, 3, 10):
        members, point = rng.normal(size=(size, 4)), rng.normal(size=4)

        def objective(points: Array) -> float:
            return float(((points - points.mean(axis=0)) ** 2).sum())

        means = members.mean(axis=0, keepdims=True).astype(np.float32)
        weighed = weigh_centroids(means, np.array([size]), is_plain=False)
        joined = objective(np.vstack([members, point])) - objective(members)
        left = objective(members) - objective(members[1:])
        assert joined == pytest.approx(
            weighed.join[0] * ((point - members.mean(axis=0)) ** 2).sum(), rel=1e-5
        )
        assert left == pytest.approx(
            weighed.leave[0] * ((members[0] - members.mean(axis=0)) ** 2).sum(), rel=1e-5
        )


def test_plain_factors_are_one_and_empty_clusters_are_infinitely_far() -> None:
    means = attribute_vectors(3)

    plain = weigh_centroids(means, np.array([4, 0, 1]), is_plain=True)

    assert (plain.leave == 1).all() and (plain.join == 1).all()
    assert np.isfinite(plain.halves).tolist() == [True, False, True]


@pytest.mark.parametrize("is_plain", [False, True])
def test_with_all_cells_searched_every_point_is_at_the_best_of_all_centroids(
    is_plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kmeans_assign, "PROBED_CELLS", 1000)
    points, labels, centroids = problem(600, 40, is_plain=is_plain)
    cells = train_cells(centroids.means, np.random.default_rng(0))
    found = assigned(points, labels, centroids.means)

    assign_by_cells(found, centroids, cells, LocalEngine(2))

    best = costs(points, labels, centroids).argmin(axis=1)
    assert np.array_equal(found.labels, best)
    true = ((points - centroids.means[best]) ** 2).sum(axis=1)
    assert np.allclose(found.distances, true, atol=1e-5)


def test_a_point_is_compared_with_its_own_cluster_even_where_its_cell_is_not_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kmeans_assign, "PROBED_CELLS", 1)
    points, labels, centroids = problem(600, 40, is_plain=False)
    cells = train_cells(centroids.means, np.random.default_rng(0))
    found = assigned(points, labels, centroids.means)
    before = costs(points, labels, centroids)[np.arange(600), labels]

    assign_by_cells(found, centroids, cells, LocalEngine(1))

    after = costs(points, labels, centroids)[np.arange(600), found.labels]
    assert (after <= before + 1e-6).all() and (found.labels != labels).any()


@pytest.mark.parametrize("is_plain", [False, True])
def test_by_lists_every_point_is_at_the_best_centroid_of_its_list(is_plain: bool) -> None:
    points, labels, centroids = problem(600, 40, is_plain=is_plain)
    rng = np.random.default_rng(1)
    others = np.array(
        [rng.choice(np.delete(np.arange(38), min(c, 37)), 5, False) for c in range(40)]
    )
    lists = np.sort(np.column_stack([np.arange(40), others]), axis=1)
    found = assigned(points, labels, centroids.means)
    which = np.arange(0, 40, 2)

    assign_by_lists(found, centroids, lists, which, LocalEngine(2))

    by_cluster = costs(points, labels, centroids)
    for row in range(600):
        own = labels[row]
        listed = lists[own]
        best = listed[by_cluster[row, listed].argmin()] if own in which else own
        assert found.labels[row] == best


def test_members_of_cells_are_the_centroids_with_points_each_once() -> None:
    _, _, centroids = problem(100, 60, is_plain=True)
    cells = train_cells(centroids.means, np.random.default_rng(0))

    members = cell_members(centroids, cells)

    assert len(members) == len(cells)
    present = np.flatnonzero(np.isfinite(centroids.halves))
    assert sorted(np.concatenate(members).tolist()) == present.tolist()
    distances = ((centroids.means[:, None] - cells[None]) ** 2).sum(axis=2)
    for cell, rows in enumerate(members):
        assert rows.tolist() == sorted(rows.tolist())
        assert (distances[rows].argmin(axis=1) == cell).all()


def test_neighbor_lists_hold_the_nearest_centroids_and_the_centroid_itself() -> None:
    means = attribute_vectors(300)
    centroids = weigh_centroids(means, np.full(300, 5), is_plain=True)
    cells = train_cells(means, np.random.default_rng(0))

    lists = list_neighbors(centroids, cells, 20, LocalEngine(2))

    distances = ((means[:, None] - means[None]) ** 2).sum(axis=2)
    nearest = np.argsort(distances, axis=1)[:, :20]
    assert lists.shape == (300, 20)
    found = 0
    for row, neighbors in enumerate(lists.tolist()):
        assert neighbors == sorted(set(neighbors)) and row in neighbors
        found += len({*neighbors} & {*nearest[row].tolist()})
    assert found > 0.95 * 300 * 20


def test_few_centroids_are_all_neighbors_and_an_absent_one_lists_only_itself() -> None:
    means = attribute_vectors(300)
    few = weigh_centroids(means[:10], np.full(10, 5), is_plain=True)
    some = weigh_centroids(means, np.arange(300) % 50, is_plain=True)
    cells = train_cells(means, np.random.default_rng(0))

    everyone = list_neighbors(few, cells[:3], 20, LocalEngine(1))
    lists = list_neighbors(some, cells, 20, LocalEngine(1))

    assert (everyone == np.arange(10)).all()
    absent = np.arange(0, 300, 50)
    assert (lists[absent] == absent[:, None]).all()
    assert not np.isin(np.delete(lists, absent, axis=0), absent).any()


@pytest.mark.parametrize("rounds", [8, 24])
def test_the_first_and_the_last_rounds_are_plain_and_the_first_middle_and_last_wide(
    rounds: int,
) -> None:
    steps = [Round(number=number, rounds=rounds) for number in range(rounds)]

    assert [s.number for s in steps if s.is_plain] == [0, rounds - 2, rounds - 1]
    assert [s.number for s in steps if s.is_wide] == [0, rounds // 2, rounds - 1]
    assert [s.number for s in steps if s.is_last] == [rounds - 1]
    assert [s.number for s in steps if s.is_listed][:5] == [0, 1, 2, 3, 6]


def test_a_narrow_round_visits_only_clusters_with_a_stale_neighbor() -> None:
    points, labels, centroids = problem(600, 40, is_plain=False)
    cells = train_cells(centroids.means, np.random.default_rng(0))
    search = NeighborSearch(cells, LocalEngine(1))
    found = assigned(points, labels, centroids.means)
    search.reassign(found, centroids, Round(number=3, rounds=8), np.ones(40, bool))
    settled = found.labels.copy()
    found.labels[:] = 0  # all points are in cluster 0 and far from it

    search.neighbors = np.column_stack([np.arange(40), np.arange(40)])
    search.reassign(found, centroids, Round(number=5, rounds=8), np.arange(40) == 1)
    assert (found.labels == 0).all()
    search.neighbors = np.tile(np.arange(40), (40, 1))
    search.reassign(found, centroids, Round(number=5, rounds=8), np.arange(40) == 1)

    assert len(set(found.labels.tolist())) > 10 and (settled != labels).any()
