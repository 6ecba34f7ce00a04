"""Vectors read a few rows at a time, from memory or a memory map, and the blocks workers share."""

# n points, d width, k clusters, m points of one block, c clusters of one block

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.engine import Engine

Array = npt.NDArray[Any]

BLOCK_ROWS = 4096


class Vectors(Protocol):
    """Vectors (n, d) in memory or mapped: `vectors[rows]` is (m, d), of any float type."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: Any, /) -> Array: ...


class RowSubset:
    """The vectors at some rows, without a copy."""

    def __init__(self, vectors: Vectors, rows: Array) -> None:
        self.vectors, self.rows = vectors, rows
        self.shape = (len(rows), vectors.shape[1])

    def __getitem__(self, rows: Any) -> Array:
        selected: Array = self.vectors[self.rows[rows]]
        return selected


@dataclass(frozen=True, kw_only=True)
class ClusterBlock:
    """Points grouped by cluster: `clusters[i]` has `rows[edges[i]:edges[i + 1]]`.

    A cluster with more points than fit a block is split over several blocks.
    """

    clusters: Array
    edges: Array
    rows: Array


def take_rows(vectors: Vectors, rows: Array) -> Array:
    """The points (m, d) float32 at `rows`."""
    return np.ascontiguousarray(vectors[rows], np.float32)


def row_blocks(n: int, size: int | None = None) -> list[Array]:
    """The rows 0 to n - 1 in blocks of `size` (None: BLOCK_ROWS)."""
    size = size or BLOCK_ROWS
    return [np.arange(start, min(n, start + size)) for start in range(0, n, size)]


def all_squared_lengths(vectors: Vectors, engine: Engine) -> Array:
    """The squared length (n,) float32 of every point; not finite where a component is not."""
    lengths = engine.map(squared_lengths, row_blocks(vectors.shape[0]), vectors)
    return np.concatenate([np.zeros(0, np.float32), *lengths])


def squared_lengths(rows: Array, vectors: Vectors) -> Array:
    """The squared length (m,) of the points at `rows`."""
    points = take_rows(vectors, rows)
    lengths: Array = np.einsum("md,md->m", points, points)
    return lengths


def cluster_blocks(
    labels: Array, which: Array, count: int, size: int | None = None
) -> Iterator[ClusterBlock]:
    """The points of the clusters `which`, ascending, in blocks of at most `size` points.

    `labels` (n,) number `count` clusters; a `size` of None is BLOCK_ROWS.
    """
    size = size or BLOCK_ROWS
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels, minlength=count)
    starts = np.cumsum(sizes) - sizes
    pieces: list[tuple[int, int, int]] = []
    num_points = 0
    for cluster in which.tolist():
        first, left = int(starts[cluster]), int(sizes[cluster])
        while left:
            piece = min(left, size)
            if num_points + piece > size:
                yield _block(pieces, order)
                pieces, num_points = [], 0
            pieces.append((cluster, first, first + piece))
            first, left, num_points = first + piece, left - piece, num_points + piece
    if pieces:
        yield _block(pieces, order)


def _block(pieces: list[tuple[int, int, int]], order: Array) -> ClusterBlock:
    sizes = [stop - start for _, start, stop in pieces]
    return ClusterBlock(
        clusters=np.array([cluster for cluster, _, _ in pieces]),
        edges=np.concatenate([[0], np.cumsum(sizes)]),
        rows=np.concatenate([order[start:stop] for _, start, stop in pieces]),
    )
