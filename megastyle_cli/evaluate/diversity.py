"""Diversity of a set of unit vectors: mean pairwise distance, Vendi score, nearest-neighbour
distance.

These are the measures MegaStyle reports for prompts (MPD, Vendi, MNND).
"""

import numpy as np

from megastyle_cli.retrieval.embed import Array

# n vectors of width d, unit rows; distances are 1 - cosine, in [0, 2]
MAX_COSINES = 2**24  # held at a time: 64 MiB


def diversity(vectors: Array) -> dict[str, float]:
    """`mpd`, `vendi` and `mnnd` of the rows; empty for fewer than two rows."""
    if len(vectors) < 2:
        return {}
    return {"mpd": mpd(vectors), "vendi": vendi(vectors), "mnnd": mnnd(vectors)}


def mpd(vectors: Array) -> float:
    """The mean distance over all pairs of different rows, in O(nd).

    The squared norm of the sum of all rows counts every pair twice and every row with itself once.
    """
    n = len(vectors)
    total = vectors.sum(axis=0, dtype=np.float64)  # (d,)
    pairs = float(total @ total) - float(_row_cosines(vectors, vectors).sum())
    return 1 - pairs / (n * (n - 1))


def vendi(vectors: Array) -> float:
    """The effective number of different rows, in [1, n]: 1 if all are equal, n if all are
    orthogonal.

    It is exp(entropy) of the eigenvalues of K / n, where K holds the cosines. K = V V' (n, n) has
    the eigenvalues of V' V (d, d) and zeros, so the smaller of the two is used.
    Source: Friedman and Dieng 2023 (arXiv 2210.02410).
    """
    n, d = vectors.shape
    eigenvalues = np.linalg.eigvalsh(_gram(vectors if n > d else vectors.T))
    shares = eigenvalues[eigenvalues > 0] / eigenvalues[eigenvalues > 0].sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def mnnd(vectors: Array) -> float:
    """The mean distance of a row to its nearest other row, in O(n n d)."""
    block = max(1, MAX_COSINES // len(vectors))
    nearest = np.empty(len(vectors), int)
    for start in range(0, len(vectors), block):
        cosines = vectors[start : start + block] @ vectors.T  # (block, n)
        np.fill_diagonal(cosines[:, start:], -np.inf)
        nearest[start : start + block] = cosines.argmax(axis=1)
    blocks = [slice(start, start + block) for start in range(0, len(vectors), block)]
    exact = [_row_cosines(vectors[rows], vectors[nearest[rows]]) for rows in blocks]
    return float(1 - np.concatenate(exact).mean())


def _gram(columns: Array) -> Array:
    """The products of all pairs of columns of (rows, columns), float64."""
    block = max(1, MAX_COSINES // columns.shape[1])
    gram = np.zeros((columns.shape[1],) * 2)
    for start in range(0, len(columns), block):
        part = columns[start : start + block].astype(np.float64)
        gram += part.T @ part
    return gram


def _row_cosines(rows: Array, others: Array) -> Array:
    return np.asarray(np.einsum("nd,nd->n", rows, others, dtype=np.float64))
