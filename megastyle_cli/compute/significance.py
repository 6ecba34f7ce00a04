"""Exact tests of paired differences, and their correction for many comparisons."""

from math import comb

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def sign_test(differences: Array) -> float:
    """The two-sided p of the exact sign test: are differences (n,) above 0 as often as below?

    Differences of 0 say nothing and do not count; 1 if none is left.
    """
    above, below = int((differences > 0).sum()), int((differences < 0).sum())
    n = above + below
    tail = sum(comb(n, k) for k in range(min(above, below) + 1)) / 2**n
    return float(min(1.0, 2 * tail))


def holm(p_values: Array) -> Array:
    """Holm's adjusted p of several tests (n,), in their order: valid however the tests depend.

    Source: Holm, "A simple sequentially rejective multiple test procedure" (1979).
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(factors * p_values[order]))
    return adjusted
