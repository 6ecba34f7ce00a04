"""A 2-D map of nested clusters: each is placed around its parent, by the parent's principal plane.

Points close on the map are close in the hierarchy; distances between unrelated clusters carry no
meaning. Takes one small SVD per cluster, so the time is linear in the number of points.
Source: ours.
"""

# n points, d width, k clusters, m members of one cluster

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.cluster.hierarchy import Hierarchy
from megastyle_cli.cluster.points import Vectors
from megastyle_cli.compute.engine import Engine

Array = npt.NDArray[Any]

SPREAD = 0.45  # radius of a cluster, relative to the distance to its nearest sibling


def project(vectors: Vectors, hierarchy: Hierarchy, engine: Engine) -> Array:
    """The coordinates (n, 2) float32 of all points, at most about 1 from the origin."""
    if not hierarchy.centroids:
        return np.zeros((vectors.shape[0], 2), np.float32)
    coarsest = hierarchy.centroids[-1]
    positions = _principal_plane(coarsest)
    radii = _radii(positions, np.zeros(len(positions), np.int64), np.ones(1))
    for level in range(len(hierarchy.centroids) - 1, -1, -1):
        parents = hierarchy.assignments[level]
        below: Vectors = vectors
        if level > 0:
            fine = hierarchy.assignments[level - 1]
            parents = parents[np.unique(fine, return_index=True)[1]]  # by the first point of each
            below = hierarchy.centroids[level - 1]
        offsets = _offsets(below, parents, engine)
        positions = positions[parents] + offsets * radii[parents, None]
        radii = _radii(positions, parents, radii) if level > 0 else radii
    return positions.astype(np.float32)


def _offsets(vectors: Vectors, parents: Array, engine: Engine) -> Array:
    """The positions (n, 2) of vectors in the principal plane of their siblings, of length <= 1."""
    order = np.argsort(parents, kind="stable")
    families = np.split(order, np.flatnonzero(np.diff(parents[order])) + 1)
    offsets = np.zeros((len(parents), 2))
    batches = [families[start : start + 64] for start in range(0, len(families), 64)]
    for batch, found in zip(batches, engine.map(_planes, batches, vectors), strict=True):
        offsets[np.concatenate(batch)] = found
    return offsets


def _planes(families: Sequence[Array], vectors: Vectors) -> Array:
    return np.concatenate(
        [_principal_plane(np.asarray(vectors[rows], np.float64)) for rows in families]
    )


def _principal_plane(points: Array) -> Array:
    """The points (m, d) projected to their principal plane, (m, 2), the farthest at distance 1."""
    sample = points[:: -(-len(points) // 512)]  # at most 512: enough for the axes
    flat = (points - points.mean(axis=0)) @ _axes(sample)
    reach = np.sqrt((flat**2).sum(axis=1).max(initial=0))
    return np.asarray(flat / reach if reach > 0 else flat, np.float64)


def _axes(points: Array) -> Array:
    """The first two principal axes (d, 2), zero where the points do not vary; signs are fixed."""
    centered = np.asarray(points - points.mean(axis=0), np.float64)
    _, strengths, directions = np.linalg.svd(centered, full_matrices=False)
    axes = np.zeros((2, centered.shape[1]))
    found = directions[:2] * (strengths[:2, None] > 1e-9)
    axes[: len(found)] = found * np.where(found.sum(axis=1, keepdims=True) < 0, -1, 1)
    return axes.T


def _radii(positions: Array, parents: Array, parent_radii: Array) -> Array:
    """The radius of each cluster, (k,): a share of the distance to its nearest sibling."""
    radii = SPREAD * parent_radii[parents]
    order = np.argsort(parents, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(parents[order])) + 1):
        if len(rows) < 2:
            continue
        siblings = positions[rows]
        distances = np.sqrt(((siblings[:, None] - siblings[None]) ** 2).sum(axis=2))
        np.fill_diagonal(distances, np.inf)
        radii[rows] = np.minimum(radii[rows], SPREAD * distances.min(axis=1))
    return radii
