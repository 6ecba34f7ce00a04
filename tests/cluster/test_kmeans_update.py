"""Means are those of their points, and empty clusters get the points farthest from their own."""

import numpy as np
import pytest

from megastyle_cli.cluster.kmeans_update import block_sums, fill_empty, update_means
from megastyle_cli.cluster.points import cluster_blocks
from tests.cluster.test_kmeans import attribute_vectors


@pytest.mark.parametrize("block_rows", [1, 7, 64, None])
def test_means_of_blocks_become_those_of_their_points_and_others_stay(
    block_rows: int | None,
) -> None:
    points = attribute_vectors(500)
    labels = np.random.default_rng(0).integers(0, 20, 500)
    labels[labels == 4] = 5  # an empty cluster
    means = np.full((21, points.shape[1]), 9, np.float32)
    sizes = np.bincount(labels, minlength=21)
    blocks = list(cluster_blocks(labels, np.arange(0, 21, 2), 21, block_rows))

    update_means(means, sizes, blocks, (block_sums(block, points) for block in blocks))

    for cluster in range(21):
        if cluster % 2 == 0 and sizes[cluster]:
            assert np.allclose(means[cluster], points[labels == cluster].mean(axis=0), atol=1e-6)
        else:
            assert (means[cluster] == 9).all()


def test_block_sums_are_those_of_each_cluster() -> None:
    points = attribute_vectors(60)
    labels = np.arange(60) % 4

    (block,) = cluster_blocks(labels, np.array([1, 3]), 4)

    expected = [points[labels == cluster].sum(axis=0) for cluster in (1, 3)]
    assert np.allclose(block_sums(block, points), expected, atol=1e-6)


def test_the_farthest_points_move_to_empty_clusters_one_of_each_cluster() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    distances = np.array([0.5, 0.9, 0.8, 0.7, 0.1, 0.2], np.float32)

    changed = fill_empty(labels, distances, np.ones(6, np.float32), 6)

    # 0.8 is of the cluster of 0.9, so 0.7 moves next, then 0.2
    assert labels.tolist() == [0, 3, 0, 4, 1, 5]
    assert distances.tolist() == pytest.approx([0.5, 0, 0.8, 0, 0.1, 0])
    assert changed.tolist() == [True] * 6


def test_ties_go_to_the_lower_row_and_clusters_that_give_nothing_are_unchanged() -> None:
    labels = np.array([2, 1, 0])
    distances = np.array([0.5, 0.9, 0.9], np.float32)

    changed = fill_empty(labels, distances, np.ones(3, np.float32), 4)

    assert labels.tolist() == [2, 3, 0]
    assert changed.tolist() == [False, True, False, True]


def test_points_on_their_centroid_stay() -> None:
    labels = np.zeros(4, np.int64)
    distances = np.array([0, 1e-7, 1e-7, 1e-7], np.float32)
    squares = np.ones(4, np.float32)

    assert fill_empty(labels, distances, squares, 3).tolist() == [False] * 3
    assert labels.tolist() == [0, 0, 0, 0]
    # the same distance is far for a point of small length
    squares[2] = 1e-3
    assert fill_empty(labels, distances, squares, 3).tolist() == [True, True, False]
    assert labels.tolist() == [0, 0, 1, 0]


def test_without_empty_clusters_nothing_moves() -> None:
    labels = np.array([0, 1])

    assert not fill_empty(labels, np.ones(2, np.float32), np.ones(2, np.float32), 2).any()
    assert labels.tolist() == [0, 1]
