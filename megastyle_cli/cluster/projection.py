"""A map of nested clusters: coarse ones by their principal plane, finer ones around their parents.

Near on the map is near in the hierarchy; the exact distance of strangers means nothing. Costs one
small decomposition a cluster, so it grows with the number of points alone.
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

SPREAD = 0.45  # radius of a cluster, in distances to the nearest of its siblings


def plane(vectors: Vectors, hierarchy: Hierarchy, engine: Engine) -> Array:
    """Coordinates (n, 2) float32 of all points, about 1 from the middle."""
    if not hierarchy.centroids:
        return np.zeros((vectors.shape[0], 2), np.float32)
    coarsest = hierarchy.centroids[-1]
    places = _principal_plane(coarsest)
    radii = _room(places, np.zeros(len(places), np.int64), np.ones(1))
    for level in range(len(hierarchy.centroids) - 1, -1, -1):
        parents = hierarchy.assignments[level]
        below: Vectors = vectors
        if level > 0:
            fine = hierarchy.assignments[level - 1]
            parents = parents[np.unique(fine, return_index=True)[1]]  # one point tells for all
            below = hierarchy.centroids[level - 1]
        offsets = _offsets(below, parents, engine)
        around = places[parents] + offsets * radii[parents, None]
        radii = _room(around, parents, radii) if level > 0 else radii
        places = around
    return places.astype(np.float32)


def _offsets(vectors: Vectors, parents: Array, engine: Engine) -> Array:
    """Where each of n vectors lies in the principal plane of those of its parent: within 1."""
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
    """The points (m, d) in the plane they vary most in, (m, 2), the farthest at distance 1."""
    some = points[:: -(-len(points) // 512)]  # the axes of thousands are those of some hundred
    flat = (points - points.mean(axis=0)) @ _axes(some)
    reach = np.sqrt((flat**2).sum(axis=1).max(initial=0))
    return np.asarray(flat / reach if reach > 0 else flat, np.float64)


def _axes(points: Array) -> Array:
    """The first two principal axes (d, 2); zero where the points do not vary. Signs are fixed."""
    centered = np.asarray(points - points.mean(axis=0), np.float64)
    _, strengths, turned = np.linalg.svd(centered, full_matrices=False)
    axes = np.zeros((2, centered.shape[1]))
    held = turned[:2] * (strengths[:2, None] > 1e-9)
    axes[: len(held)] = held * np.where(held.sum(axis=1, keepdims=True) < 0, -1, 1)
    return axes.T


def _room(places: Array, parents: Array, radii: Array) -> Array:
    """How far each cluster may reach: a share of the way to its nearest sibling, (k,)."""
    room = SPREAD * radii[parents]
    order = np.argsort(parents, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(parents[order])) + 1):
        if len(rows) < 2:
            continue
        some = places[rows]
        apart = np.sqrt(((some[:, None] - some[None]) ** 2).sum(axis=2))
        np.fill_diagonal(apart, np.inf)
        room[rows] = np.minimum(room[rows], SPREAD * apart.min(axis=1))
    return room
