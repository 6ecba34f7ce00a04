"""On the map, clusters stay together at every level."""

import numpy as np

from megastyle_cli.cluster.hierarchy import hierarchical_kmeans
from megastyle_cli.cluster.projection import project
from megastyle_cli.compute.engine import LocalEngine


def test_a_point_is_nearest_to_the_center_of_its_own_cluster():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(600, 12)).astype(np.float32)
    hierarchy = hierarchical_kmeans(points, [40, 6], seed=0, engine=LocalEngine(1))

    positions = project(points, hierarchy, LocalEngine(1))

    assert positions.shape == (600, 2)
    assert np.isfinite(positions).all()
    for labels in hierarchy.assignments:
        centers = np.stack([positions[labels == c].mean(axis=0) for c in range(labels.max() + 1)])
        distances = ((positions[:, None] - centers) ** 2).sum(axis=2)
        assert (distances.argmin(axis=1) == labels).mean() > 0.9
    assert np.array_equal(positions, project(points, hierarchy, LocalEngine(2)))


def test_equal_points_are_at_one_position():
    points = np.ones((20, 4), np.float32)
    hierarchy = hierarchical_kmeans(points, [3], seed=0, engine=LocalEngine(1))

    assert np.ptp(project(points, hierarchy, LocalEngine(1)), axis=0).tolist() == [0, 0]
