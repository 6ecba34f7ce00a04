"""On a device k-means compares all centroids, by the same rule as on the cores."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from megastyle_cli.cluster.kmeans import assign, kmeans
from megastyle_cli.cluster.kmeans_assign import weigh_centroids
from megastyle_cli.compute.engine import LocalEngine
from megastyle_cli.models.kmeans_gpu import TorchAssigner
from megastyle_cli.models.registry import load
from tests.cluster.test_kmeans import attribute_vectors

Array = npt.NDArray[Any]


def brute_force(points: Array, own: Array, means: Array, sizes: Array) -> tuple[Array, Array]:
    """Hartigan's rule in float64: the best of all clusters (m,), its squared distance (m,)."""
    distances = ((points[:, None].astype(np.float64) - means[None]) ** 2).sum(axis=2)
    costs = distances * sizes / (sizes + 1)
    costs[:, sizes == 0] = np.inf
    rows = np.arange(len(points))
    costs[rows, own] = (distances * sizes / np.maximum(sizes - 1, 0.5))[rows, own]
    best = costs.argmin(axis=1)
    return best, distances[rows, best]


@pytest.mark.parametrize("scores", [2**23, 1000])
def test_the_best_of_all_centroids_is_found_by_the_rule(scores: int) -> None:
    rng = np.random.default_rng(0)
    points, means = attribute_vectors(900), attribute_vectors(60, seed=5)
    own, sizes = rng.integers(60, size=900), rng.integers(0, 9, size=60)
    own[sizes[own] == 0] = int(sizes.argmax())
    centroids = weigh_centroids(means, sizes, is_plain=False)
    assigner = TorchAssigner("cpu")
    assigner.max_scores = scores

    uploaded = assigner.upload(means, centroids.halves, centroids.leave, centroids.join)
    labels, distances = assigner.assign(points, own, uploaded)

    expected, squares = brute_force(points, own, means, sizes)
    assert np.array_equal(labels, expected)
    assert np.allclose(distances, squares, atol=1e-6)


def test_sums_are_those_of_each_cluster() -> None:
    points = attribute_vectors(100)
    edges = np.array([0, 3, 3, 60, 100])

    sums = TorchAssigner("cpu").cluster_sums(points, edges)

    expected = [points[a:b].sum(axis=0) for a, b in ((0, 3), (3, 3), (3, 60), (60, 100))]
    assert np.allclose(sums, expected, atol=1e-5)


@pytest.mark.parametrize(("n", "count"), [(3000, 300), (2000, 1000), (3000, 8), (5, 50)])
def test_the_objective_is_that_of_the_cores(n: int, count: int) -> None:
    points = attribute_vectors(n)
    ours = kmeans(points, count, seed=1, engine=LocalEngine(1))

    found = kmeans(points, count, seed=1, engine=LocalEngine(1), assigner=load("assigner", "torch"))

    assert found.objective <= ours.objective * 1.01 + 1e-9
    assert np.array_equal(np.unique(found.labels), np.arange(len(found.centroids)))
    squares = ((points - found.centroids[found.labels]) ** 2).sum(axis=1)
    assert np.allclose(found.distances, squares, atol=1e-5)


def test_results_are_the_same_bits_whatever_the_size_of_a_block() -> None:
    points, assigner = attribute_vectors(3000), TorchAssigner("cpu")
    small = kmeans(points, 150, seed=3, engine=LocalEngine(1), assigner=assigner)
    assigner.max_scores = 2**30

    large = kmeans(points, 150, seed=3, engine=LocalEngine(1), assigner=assigner)

    assert np.array_equal(small.labels, large.labels)
    assert small.centroids.tobytes() == large.centroids.tobytes()


def test_points_go_to_the_nearest_of_given_centroids_as_on_the_cores() -> None:
    points, means = attribute_vectors(2000), attribute_vectors(40, seed=9)

    ours = assign(points, means, seed=0, engine=LocalEngine(1))
    found = assign(points, means, seed=0, engine=LocalEngine(1), assigner=TorchAssigner("cpu"))

    assert np.array_equal(found.labels, ours.labels)
    assert np.allclose(found.distances, ours.distances, atol=1e-5)


def test_equal_points_in_several_blocks_are_one_cluster() -> None:
    points = np.repeat(np.eye(4, dtype=np.float32), [900, 5, 1, 1], axis=0)
    assigner = TorchAssigner("cpu")
    assigner.block_rows = 64

    found = kmeans(points, 4, seed=0, engine=LocalEngine(1), assigner=assigner)

    assert sorted(np.bincount(found.labels).tolist()) == [1, 1, 5, 900]
    assert found.objective < 1e-12
