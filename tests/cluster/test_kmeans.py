"""k-means reaches the objective of Lloyd's algorithm, with the same bits on any engine."""

import faiss
import numpy as np
import pytest

from megastyle_cli.cluster import points as points_module
from megastyle_cli.cluster.kmeans import assign, kmeans
from megastyle_cli.cluster.points import RowSubset
from megastyle_cli.compute.engine import LocalEngine


def attribute_vectors(n: int, d: int = 32, seed: int = 0) -> np.ndarray:
    """Unit rows (n, d), each the sum of a random vector for each of six attributes, and noise."""
    rng = np.random.default_rng(seed)
    points = 0.3 * rng.standard_normal((n, d))
    for values in (40, 20, 20, 10, 10, 5):
        points += rng.standard_normal((values, d))[rng.integers(values, size=n)]
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def lloyd_objective(points: np.ndarray, count: int, seed: int) -> float:
    """The objective of ten full Lloyd iterations of faiss, every point at its nearest centroid."""
    clustering = faiss.Kmeans(
        points.shape[1],
        count,
        niter=10,
        seed=seed,
        max_points_per_centroid=len(points),
        min_points_per_centroid=1,
    )
    clustering.train(points)
    return float(clustering.index.search(points, 1)[0].mean())


@pytest.mark.parametrize(
    ("n", "count", "seed"), [(6000, 300, 1), (3000, 600, 2), (2000, 1000, 3), (4000, 8, 1)]
)
def test_the_objective_is_no_worse_than_ten_full_iterations(n, count, seed):
    points = attribute_vectors(n, seed=seed)

    found = kmeans(points, count, seed=seed, engine=LocalEngine(1))

    assert found.objective <= lloyd_objective(points, count, seed) * (1.01 if count < 10 else 1.0)


def test_distances_are_those_to_the_centroids_of_the_labels():
    points = attribute_vectors(2000)

    found = kmeans(points, 100, seed=0, engine=LocalEngine(1))

    distances = ((points - found.centroids[found.labels]) ** 2).sum(axis=1)
    assert np.allclose(found.distances, distances, atol=1e-5)
    assert np.array_equal(np.unique(found.labels), np.arange(len(found.centroids)))


def test_almost_every_point_is_at_the_nearest_of_all_centroids():
    points = attribute_vectors(6000)

    found = kmeans(points, 400, seed=0, engine=LocalEngine(1))

    distances = (found.centroids**2).sum(1) - 2 * points @ found.centroids.T
    assert (distances.argmin(axis=1) == found.labels).mean() > 0.97


@pytest.mark.parametrize("block_rows", [64, 1000])
def test_workers_and_the_container_of_the_vectors_change_no_bit(block_rows, monkeypatch):
    monkeypatch.setattr(points_module, "BLOCK_ROWS", block_rows)
    points = attribute_vectors(1500)
    subset = RowSubset(np.concatenate([points[::-1], points]), np.arange(1500, 3000))

    first = kmeans(points, 75, seed=3, engine=LocalEngine(1))

    for vectors, workers in ((points, 3), (subset, 2)):
        other = kmeans(vectors, 75, seed=3, engine=LocalEngine(workers))
        assert np.array_equal(first.labels, other.labels)
        assert first.centroids.tobytes() == other.centroids.tobytes()


def test_a_cluster_larger_than_a_block_stays_one_cluster(monkeypatch):
    monkeypatch.setattr(points_module, "BLOCK_ROWS", 64)
    points = np.repeat(np.eye(4, dtype=np.float32), [900, 5, 1, 1], axis=0)

    found = kmeans(points, 4, seed=0, engine=LocalEngine(1))

    assert sorted(np.bincount(found.labels).tolist()) == [1, 1, 5, 900]


@pytest.mark.parametrize(("n", "count"), [(0, 5), (1, 5), (7, 7), (5, 50)])
def test_there_are_no_more_clusters_than_points(n, count):
    points = attribute_vectors(10)[:n]

    found = kmeans(points, count, seed=0, engine=LocalEngine(1))

    assert len(found.labels) == n
    assert len(found.centroids) <= min(n, count)


@pytest.mark.parametrize("points", [np.zeros((300, 8), np.float32), np.ones((300, 8), np.float16)])
def test_equal_points_are_one_cluster(points):
    found = kmeans(points, 20, seed=0, engine=LocalEngine(1))

    assert found.labels.tolist() == [0] * 300
    assert found.objective == 0.0


def test_points_are_assigned_to_the_nearest_of_given_centroids():
    points, means = attribute_vectors(3000), attribute_vectors(40, seed=9)

    found = assign(points, means, seed=0, engine=LocalEngine(1))

    nearest = ((means**2).sum(1) - 2 * points @ means.T).argmin(axis=1)
    assert (np.unique(nearest, return_inverse=True)[1] == found.labels).all()
