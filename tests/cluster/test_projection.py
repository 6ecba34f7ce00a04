"""On the map, clusters keep together at every level."""

import numpy as np

from megastyle_cli.cluster.hierarchy import hierarchical_kmeans
from megastyle_cli.cluster.projection import project
from megastyle_cli.compute.local import LocalEngine


def test_a_point_is_nearer_to_the_middle_of_its_cluster_than_to_any_other():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(600, 12)).astype(np.float32)
    hierarchy = hierarchical_kmeans(points, [40, 6], seed=0, engine=LocalEngine(1))

    positions = project(points, hierarchy, LocalEngine(1))

    assert positions.shape == (600, 2)
    assert np.isfinite(positions).all()
    for labels in hierarchy.assignments:
        middles = np.stack([positions[labels == c].mean(axis=0) for c in range(labels.max() + 1)])
        apart = ((positions[:, None] - middles) ** 2).sum(axis=2)
        assert (apart.argmin(axis=1) == labels).mean() > 0.9
    assert np.array_equal(positions, project(points, hierarchy, LocalEngine(2)))


def test_points_that_are_all_the_same_lie_in_one_place():
    points = np.ones((20, 4), np.float32)
    hierarchy = hierarchical_kmeans(points, [3], seed=0, engine=LocalEngine(1))

    assert np.ptp(project(points, hierarchy, LocalEngine(1)), axis=0).tolist() == [0, 0]
