"""The first centroids are distinct points, and cells partition centroids."""

import numpy as np
import pytest

from megastyle_cli.cluster.kmeans_init import (
    FEW_CLUSTERS,
    half_squares,
    initial_means,
    nearest_cells,
    proximity,
    train_cells,
)
from tests.cluster.test_kmeans import attribute_vectors


@pytest.mark.parametrize("count", [1, 5, 40, 400])
def test_initial_means_are_distinct_points(count: int) -> None:
    points = np.repeat(attribute_vectors(500), 2, axis=0)

    means = initial_means(points, count, np.random.default_rng(0))

    known = {row.tobytes() for row in points}
    assert len({row.tobytes() for row in means}) == len(means) <= count
    assert all(row.tobytes() in known for row in means)
    assert len(means) > 0.6 * count


@pytest.mark.parametrize("count", [3, 300])
def test_no_more_means_than_distinct_points(count: int) -> None:
    points = np.repeat(np.eye(3, dtype=np.float32), 200, axis=0)

    assert len(initial_means(points, count, np.random.default_rng(0))) <= 3


def test_few_means_are_far_apart() -> None:
    centers = 10 * np.eye(8)
    points = (np.repeat(centers, 50, axis=0) + np.random.default_rng(0).normal(size=(400, 8))) / 10

    means = initial_means(points.astype(np.float32), 8, np.random.default_rng(1))

    assert FEW_CLUSTERS >= 8
    assert len(set(means.argmax(axis=1).tolist())) == 8  # one of each group


def test_the_largest_proximity_is_that_of_the_nearest_mean() -> None:
    points, means = attribute_vectors(200), 3 * attribute_vectors(30, seed=1)

    scores = proximity(points, means)

    distances = ((points[:, None] - means[None]) ** 2).sum(axis=2)
    assert np.array_equal(scores.argmax(axis=1), distances.argmin(axis=1))
    assert np.allclose((points**2).sum(axis=1)[:, None] - 2 * scores, distances, atol=1e-4)
    assert np.allclose(half_squares(means), (means**2).sum(axis=1) / 2)


def test_cells_are_about_three_roots_and_the_means_of_their_members() -> None:
    means = attribute_vectors(400)

    cells = train_cells(means, np.random.default_rng(0))

    assert 30 < len(cells) <= 60
    labels = nearest_cells(means, cells)
    distances = ((means[:, None] - cells[None]) ** 2).sum(axis=2)
    assert np.array_equal(labels, distances.argmin(axis=1))
    assert np.array_equal(nearest_cells(means, cells, np.array([7, 3])), labels[[7, 3]])
    # k-means of the means: far below the objective of random cells
    drawn = means[np.random.default_rng(1).choice(400, len(cells), replace=False)]
    at_random = ((means[:, None] - drawn[None]) ** 2).sum(axis=2).min(axis=1).mean()
    assert distances.min(axis=1).mean() < 0.9 * at_random


def test_one_mean_is_one_cell() -> None:
    mean = np.ones((1, 4), np.float32)

    assert np.array_equal(train_cells(mean, np.random.default_rng(0)), mean)
