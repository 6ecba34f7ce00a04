"""Clusters are nested, numbered by size and reproducible; samples are exact and even."""

from functools import cache
from itertools import product

import numpy as np
import pytest

from megastyle_cli.cluster.hierarchy import (
    auto_levels,
    balanced_sample,
    entropy_bits,
    fit_levels,
    nearest_members,
    resample,
    share_evenly,
)
from megastyle_cli.cluster.hierarchy import hierarchical_kmeans as hierarchy_of
from megastyle_cli.cluster.kmeans import kmeans
from megastyle_cli.compute.engine import LocalEngine
from megastyle_cli.core.errors import MegastyleError


def blobs(sizes: list[int], d: int = 16, seed: int = 0) -> np.ndarray:
    """Unit vectors (sum of sizes, d) float32 around one distant center per size, in order."""
    rng = np.random.default_rng(seed)
    centers = np.eye(d)[: len(sizes)]
    points = np.repeat(centers, sizes, axis=0) + rng.normal(0, 0.02, (sum(sizes), d))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def random_units(n: int, d: int = 8, seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(n, d))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def hierarchical_kmeans(
    vectors: np.ndarray, levels: list[int], seed: int, workers: int = 1
) -> list[np.ndarray]:
    return hierarchy_of(vectors, levels, seed=seed, engine=LocalEngine(workers)).assignments


@cache
def nested(n: int, seed: int = 0) -> list[np.ndarray]:
    return hierarchical_kmeans(random_units(n, seed=seed), [40, 10, 3], seed=0)


def test_distant_groups_are_found_and_numbered_by_size_then_by_first_member():
    vectors = blobs([20, 50, 20, 30])

    (labels,) = hierarchical_kmeans(vectors, [4], seed=0)

    assert labels.tolist() == [2] * 20 + [0] * 50 + [3] * 20 + [1] * 30


def test_a_coarse_cluster_consists_of_whole_fine_clusters():
    fine, middle, coarse = nested(1000)

    assert [len(set(level.tolist())) for level in (fine, middle, coarse)] == [40, 10, 3]
    for lower, upper in ((fine, middle), (middle, coarse)):
        pairs = set(zip(lower.tolist(), upper.tolist(), strict=True))
        assert len(pairs) == len(set(lower.tolist()))
    for level in (fine, middle, coarse):
        counts = np.bincount(level)
        assert (np.diff(counts) <= 0).all()


def test_clusters_have_nearly_converged():
    vectors = random_units(800)

    (labels,) = hierarchical_kmeans(vectors, [20], seed=0)

    means = np.stack([vectors[labels == label].mean(0) for label in range(20)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    # one more assignment to the nearest centroid moves few points
    assert ((vectors @ means.T).argmax(1) == labels).mean() > 0.95


def test_the_same_seed_gives_the_same_clusters_with_any_number_of_workers():
    vectors = random_units(3000, d=32)
    runs = [hierarchical_kmeans(vectors, [150, 30], seed=7, workers=count) for count in (1, 2, 3)]

    for run in runs[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(run, runs[0], strict=True))


def test_equal_vectors_are_in_one_cluster_and_there_are_no_empty_clusters():
    vectors = np.repeat(random_units(3), [5, 1, 4], axis=0)

    fine, coarse = hierarchical_kmeans(vectors, [6, 2], seed=0)

    assert fine.tolist() == [0] * 5 + [2] + [1] * 4
    assert sorted(set(coarse.tolist())) == list(range(len(set(coarse.tolist()))))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_tiny_pools_are_clustered(n):
    levels = fit_levels([1000, 100], n)

    assignments = hierarchical_kmeans(random_units(n), levels, seed=0)

    assert all(labels.tolist() == [0] * n for labels in assignments)


def test_default_levels_have_twenty_points_per_cluster_and_then_five_clusters_to_one():
    assert auto_levels(1_000_000) == [50_000, 10_000, 2_000, 400]
    assert auto_levels(1000) == [50, 10, 2]
    assert auto_levels(24) == [3]
    assert auto_levels(1) == auto_levels(0) == [1]


@pytest.mark.parametrize("n", [1, 7, 60, 900, 40_000])
def test_fitted_levels_are_decreasing_and_at_most_the_number_of_points(n):
    for levels in (auto_levels(n), fit_levels([50_000, 10_000, 5_000, 1_000], n)):
        assert 1 <= levels[-1] <= levels[0] <= n
        assert levels == sorted(set(levels), reverse=True)


def test_levels_that_fit_are_unchanged_and_others_shrink_by_one_factor():
    assert fit_levels([50, 10], 50) == [50, 10]
    assert fit_levels([50_000, 10_000, 1_000], 1000) == [50, 10, 1]


@pytest.mark.parametrize("levels", [[], [0], [10, 10], [5, 10], [10, -1]])
def test_levels_that_do_not_decrease_are_refused(levels):
    with pytest.raises(MegastyleError, match="from fine to coarse"):
        fit_levels(levels, 100)


@pytest.mark.parametrize("seed", range(20))
def test_shares_sum_to_the_target_and_differ_by_at_most_one_unless_a_cluster_is_used_up(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 40, rng.integers(1, 30))
    target = int(rng.integers(0, sizes.sum() + 5))

    shares = share_evenly(sizes, target, rng)

    assert shares.sum() == min(target, sizes.sum())
    assert (shares >= 0).all()
    assert (shares <= sizes).all()
    larger = shares[shares < sizes]  # clusters that could have given more
    assert larger.size == 0 or shares.max() <= larger.min() + 1


def test_the_remainder_comes_from_every_larger_cluster_equally_often():
    rng = np.random.default_rng(0)

    extra = sum(share_evenly(np.array([1, 9, 9, 9]), 8, rng) for _ in range(3000))

    assert extra[0] == 3000
    assert np.allclose(extra[1:], 7000, atol=150)


@pytest.mark.parametrize("target", [0, 1, 5, 37, 200, 999, 1000, 5000])
def test_a_sample_has_exactly_the_target_number_of_rows(target):
    assignments = nested(1000)

    rows = balanced_sample(assignments, target, np.random.default_rng(1))

    assert len(rows) == min(target, 1000)
    assert (np.diff(rows) > 0).all()
    assert rows.size == 0 or (rows[0] >= 0 and rows[-1] < 1000)


@pytest.mark.parametrize(
    ("levels", "seed"), [([60], 0), ([60, 12], 1), ([60, 12, 3], 2), ([60, 20, 8, 3], 3)]
)
def test_at_every_level_no_cluster_gives_more_than_its_size_and_the_sum_is_exact(levels, seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(60, 700))
    found = hierarchy_of(random_units(n, seed=seed), levels, seed=seed, engine=LocalEngine(1))
    targets = (1, len(levels), int(rng.integers(n)), n - 1, n, n + 1, 10 * n)

    for target, distances in product(targets, (None, found.distances)):
        rows = balanced_sample(found.assignments, target, rng, distances)

        assert len(rows) == len(set(rows.tolist())) == min(target, n)
        for labels in found.assignments:
            counts = np.bincount(labels[rows], minlength=labels.max() + 1)
            assert (counts <= np.bincount(labels)).all()
        if target >= n:
            assert rows.tolist() == list(range(n))


def test_the_nearest_members_are_those_of_least_distance():
    found = hierarchy_of(random_units(400), [20, 4], seed=0, engine=LocalEngine(1))
    fine = found.assignments[0]

    rows = balanced_sample(found.assignments, 100, np.random.default_rng(0), found.distances)

    for cluster in range(20):
        members = np.flatnonzero(fine == cluster)
        is_sampled = np.isin(members, rows)
        nearest = np.sort(found.distances[members])[: is_sampled.sum()]
        assert np.array_equal(np.sort(found.distances[members[is_sampled]]), nearest)


def test_a_sample_is_as_even_as_cluster_sizes_allow_at_every_level():
    assignments = nested(1000)

    rows = balanced_sample(assignments, 120, np.random.default_rng(1))

    inside = np.zeros(1000, np.int64)  # above the coarsest level, one cluster of all points
    for labels in reversed(assignments):
        for parent in np.unique(inside):
            members = np.unique(labels[inside == parent])
            sizes = np.array([(labels == member).sum() for member in members])
            drawn = np.array([(labels[rows] == member).sum() for member in members])
            larger = drawn[drawn < sizes]
            assert larger.size == 0 or drawn.max() <= larger.min() + 1
        inside = labels


def test_a_sample_depends_on_the_random_generator_alone():
    assignments = nested(1000)

    first, again, other = (
        balanced_sample(assignments, 100, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_entropy_is_the_logarithm_of_the_number_of_equal_clusters():
    assert entropy_bits(np.array([3, 3, 3, 3, 0])) == pytest.approx(2.0)
    assert entropy_bits(np.array([1, 3])) == pytest.approx(0.8112781)
    assert entropy_bits(np.array([5])) == 0.0
    assert entropy_bits(np.array([], np.int64)) == 0.0


def test_nearest_members_are_as_many_as_asked_for_with_ties_by_row():
    labels = np.array([1, 0, 1, 1, 0, 2])
    distances = np.array([0.3, 0.2, 0.1, 0.1, 0.1, 0.9], np.float32)

    assert nearest_members(labels, distances, np.array([1, 2, 0])).tolist() == [2, 3, 4]
    assert nearest_members(labels, distances, np.array([1, 1, 5])).tolist() == [2, 4, 5]


def test_resampling_leaves_fewer_clusters_to_dense_regions():
    rng = np.random.default_rng(0)
    dense = rng.normal(0, 0.3, (4000, 2)).astype(np.float32)
    sparse = (rng.normal(0, 0.3, (400, 2)) + 5).astype(np.float32)
    points = np.concatenate([dense, sparse])
    found = kmeans(points, 60, seed=0, engine=LocalEngine(1))

    flat = resample(points, found, 3, seed=0, engine=LocalEngine(1))

    def in_sparse(clusters):
        return int((clusters.centroids[:, 0] > 2.5).sum())

    assert in_sparse(flat) > in_sparse(found)
    assert resample(points, found, 0, seed=0, engine=LocalEngine(1)) is found
    distances = ((points - flat.centroids[flat.labels]) ** 2).sum(axis=1)
    assert np.allclose(flat.distances, distances, atol=1e-4)


def test_objectives_are_the_mean_squared_distances_of_each_level():
    points = random_units(500)

    found = hierarchy_of(points, [30, 6], seed=0, engine=LocalEngine(1))

    fine, coarse = found.assignments
    distances = ((points - found.centroids[0][fine]) ** 2).sum(axis=1)
    assert np.allclose(found.distances, distances, atol=1e-5)
    assert found.objectives[0] == pytest.approx(distances.mean(), rel=1e-4)
    parent = coarse[np.unique(fine, return_index=True)[1]]
    between = ((found.centroids[0] - found.centroids[1][parent]) ** 2).sum(axis=1)
    assert found.objectives[1] == pytest.approx(between.mean(), rel=1e-3)
