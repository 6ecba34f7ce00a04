"""The Bradley-Terry model with ties: how strong systems are, from votes between two at a time.

System i is preferred to j with probability exp(s_i) / z, neither with exp(t + (s_i + s_j) / 2) / z,
where z makes the three of a pair sum to 1. Source: Davidson, "On extending the Bradley-Terry model
to accommodate ties in paired comparison experiments" (1970); the prior is ours.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# A weak normal prior on strengths and tie parameter keeps them finite where one system always won;
# its standard deviation, in log odds.
PRIOR_SD = 3.0
MAX_STEPS = 100
TOLERANCE = 1e-10  # in log odds


def fit(counts: Array, pairs: npt.NDArray[np.intp], num_systems: int) -> tuple[Array, Array]:
    """Strengths (b, num_systems) with mean 0 and tie parameters (b,), both as log odds.

    `counts` is (b, p, 3): of `b` sets of votes, how often the first and the second system of each
    of `p` pairs was preferred, and how often neither. `pairs` is (p, 2), numbers of systems. By
    Newton's method, all sets at once.
    """
    design = _design(pairs, num_systems)
    totals = counts.sum(axis=2)  # (b, p)
    found = np.zeros((len(counts), num_systems + 1))
    precision = np.eye(num_systems + 1) / PRIOR_SD**2
    for _ in range(MAX_STEPS):
        shares = _shares(found, design)
        gradient = np.einsum("bpo,pok->bk", counts - totals[:, :, None] * shares, design)
        gradient -= found @ precision
        means = np.einsum("bpo,pok->bpk", shares, design)
        hessian = np.einsum("bp,bpo,pok,pol->bkl", totals, shares, design, design, optimize=True)
        hessian -= np.einsum("bp,bpk,bpl->bkl", totals, means, means, optimize=True)
        step = np.linalg.solve(hessian + precision, gradient[:, :, None])[:, :, 0]
        # a whole step may overshoot far from the solution, where the curve is flat
        step *= np.minimum(1, 2 / np.maximum(np.abs(step).max(axis=1, keepdims=True), 1e-300))
        found += step
        if np.abs(step).max(initial=0) < TOLERANCE:
            break
    strengths = found[:, :-1]
    return strengths - strengths.mean(axis=1, keepdims=True), found[:, -1]


def win_shares(strengths: Array, ties: Array) -> Array:
    """How often (b, k) each of `k` systems is preferred to another one, a tie being half a win.

    The mean over the other systems, in [0, 1]; what `fit` returned. 0.5 for a single system.
    """
    num_systems = strengths.shape[1]
    if num_systems < 2:
        return np.full(strengths.shape, 0.5)
    first, second = (rows.ravel() for rows in np.indices((num_systems, num_systems)))
    pairs = np.stack([first, second], axis=1)[first != second]
    found = np.concatenate([strengths, ties[:, None]], axis=1)
    shares = _shares(found, _design(pairs, num_systems))
    points = shares[:, :, 0] + shares[:, :, 2] / 2
    points = points.reshape(len(strengths), num_systems, num_systems - 1)
    return np.asarray(points.mean(axis=2))


def _design(pairs: npt.NDArray[np.intp], num_systems: int) -> Array:
    """What each parameter adds to the log odds of the three outcomes of a pair: (p, 3, k + 1)."""
    design = np.zeros((len(pairs), 3, num_systems + 1))
    rows = np.arange(len(pairs))
    design[rows, 0, pairs[:, 0]] = design[rows, 1, pairs[:, 1]] = 1
    design[rows, 2, pairs[:, 0]] = design[rows, 2, pairs[:, 1]] = 0.5
    design[:, 2, -1] = 1
    return design


def _shares(found: Array, design: Array) -> Array:
    """The probability of the three outcomes of each pair: (b, p, 3)."""
    odds = np.einsum("bk,pok->bpo", found, design)
    odds = np.exp(odds - odds.max(axis=2, keepdims=True))
    return np.asarray(odds / odds.sum(axis=2, keepdims=True))
