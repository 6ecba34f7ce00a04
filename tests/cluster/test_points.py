"""Blocks hold every point once, and a subset of rows behaves like a copy of them."""

import numpy as np
import pytest

from megastyle_cli.cluster import points
from megastyle_cli.cluster.points import (
    RowSubset,
    all_squared_lengths,
    cluster_blocks,
    row_blocks,
    take_rows,
)
from megastyle_cli.compute.engine import LocalEngine


def test_a_subset_of_rows_behaves_like_a_copy_of_them() -> None:
    vectors = np.random.default_rng(0).random((20, 3))
    rows = np.array([5, 2, 2, 19])

    subset = RowSubset(vectors, rows)

    assert subset.shape == (4, 3)
    assert np.array_equal(subset[np.array([3, 0])], vectors[[19, 5]])
    assert np.array_equal(subset[1:3], vectors[[2, 2]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_points_are_contiguous_float32_of_whatever_type_is_stored(dtype: type) -> None:
    vectors = np.random.default_rng(0).random((9, 4)).astype(dtype)[:, ::2]

    taken = take_rows(vectors, np.array([8, 1]))

    assert taken.dtype == np.float32 and taken.flags.c_contiguous
    assert np.array_equal(taken, vectors[[8, 1]].astype(np.float32))


@pytest.mark.parametrize(("n", "size"), [(0, 3), (1, 3), (6, 3), (7, 3)])
def test_row_blocks_hold_each_row_once_in_order(n: int, size: int) -> None:
    blocks = row_blocks(n, size)

    assert [row for block in blocks for row in block.tolist()] == list(range(n))
    assert all(len(block) == size for block in blocks[:-1])


def test_squared_lengths_are_not_finite_where_a_component_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(points, "BLOCK_ROWS", 3)
    vectors = np.arange(16, dtype=np.float32).reshape(8, 2)
    vectors[2, 1], vectors[5, 0] = np.nan, np.inf

    lengths = all_squared_lengths(vectors, LocalEngine(2))

    assert np.flatnonzero(~np.isfinite(lengths)).tolist() == [2, 5]
    assert lengths[[0, 1, 7]].tolist() == [1, 13, 14**2 + 15**2]
    assert len(all_squared_lengths(np.zeros((0, 2), np.float32), LocalEngine(1))) == 0


@pytest.mark.parametrize("size", [1, 4, 10, 1000])
def test_cluster_blocks_hold_the_points_of_the_clusters_asked_for_once(size: int) -> None:
    labels = np.random.default_rng(0).choice(9, 100, p=[0.4, *[0.1] * 6, 0.0, 0.0])
    which = np.array([0, 2, 3, 7, 8])

    blocks = list(cluster_blocks(labels, which, 9, size))

    found: dict[int, list[int]] = {}
    for block in blocks:
        assert len(block.rows) == block.edges[-1] <= size
        for cluster, start, stop in zip(
            block.clusters.tolist(), block.edges, block.edges[1:], strict=False
        ):
            assert stop > start
            found.setdefault(cluster, []).extend(block.rows[start:stop].tolist())
    assert list(found) == [0, 2, 3]  # ascending; empty clusters are left out
    for cluster, rows in found.items():
        assert rows == np.flatnonzero(labels == cluster).tolist()
