"""The mean of a measure over images, with its interval over styles."""

from collections.abc import Sequence

import numpy as np

from megastyle_cli.core.record import Record
from megastyle_cli.evaluate.metrics import bootstrap_interval
from megastyle_cli.retrieval.embed import Array

DIGITS = 4


def mean_of(values: Array, styles: Sequence[str], seed: int, factor: float = 1.0) -> Record:
    """`value`, and `low` and `high` of its 95 % interval; styles (n,) are resampled whole.

    Values (n,) that are NaN are left out. One style alone has no interval.
    """
    known = ~np.isnan(values)
    groups: dict[str, list[float]] = {}
    for style, value in zip(np.asarray(styles)[known].tolist(), values[known], strict=True):
        groups.setdefault(style, []).append(float(value))
    if not groups:
        return {"value": None}
    found: Record = {"value": rounded(float(values[known].mean()) * factor)}
    if len(groups) > 1:
        low, high = bootstrap_interval(list(groups.values()), seed)
        found |= {"low": rounded(low * factor), "high": rounded(high * factor)}
    return found


def rounded(value: float) -> float:
    """The value with 4 digits."""
    return round(value, DIGITS) + 0.0
