"""Drawn vectors and images for tests of retrieval and evaluation, and CSLS from its definition."""

import numpy as np


def unit_rows(n, d, seed=0):
    """Random unit rows (n, d) float32."""
    rows = np.random.default_rng(seed).standard_normal((n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def grouped_rows(n, d=32, seed=0):
    """Unit rows in loose groups of ten, like images of a style."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n // 10, d))[np.arange(n) % (n // 10)]
    rows += 0.5 * rng.standard_normal((n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def cosines(queries, bank):
    """All cosines (q, n), float64."""
    return queries.astype(np.float64) @ bank.T.astype(np.float64)


def csls_matrix(queries, bank, k=10, *, bank_knows_queries=False):
    """CSLS of all pairs (q, n), one pair at a time.

    r of a row of the bank is its mean cosine with its nearest other rows of the bank, or with
    `bank_knows_queries` with its nearest queries.
    """
    direct, among = cosines(queries, bank), cosines(bank, bank)
    r_query = [np.mean(np.sort(row)[::-1][:k]) for row in direct]
    if bank_knows_queries:
        r_bank = [np.mean(np.sort(column)[::-1][:k]) for column in direct.T]
    else:
        r_bank = [np.mean(np.sort(np.delete(row, j))[::-1][:k]) for j, row in enumerate(among)]
    return np.array(
        [
            [2 * direct[i, j] - r_query[i] - r_bank[j] for j in range(len(bank))]
            for i in range(len(queries))
        ]
    )
