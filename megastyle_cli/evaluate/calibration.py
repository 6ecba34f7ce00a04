"""What a style score means: beside it the cosine with strangers, and CSLS, which takes hubs out.

A raw cosine has no zero point: some pictures are near to everything (arXiv 2605.09030 finds artists
whose own works score below other artists'). So every own pair is read against pairs that have
nothing to do with each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from megastyle_cli.retrieve.csls import mean_similarity
from megastyle_cli.retrieve.nearest import Array

# n pictures, m reference pictures, d width


@dataclass(frozen=True, kw_only=True)
class Bank:
    """Reference pictures: their vectors (m, d), unit rows, in the order of the other two.

    The references of a picture are the rows of its key; rows of other styles are strangers, and so
    are rows of style None.
    """

    vectors: Array
    keys: Sequence[str | None]
    styles: Sequence[str | None]


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """For each picture (n,), float64; NaN where a picture has no strangers."""

    random: Array  # mean cosine with strangers
    csls: Array  # of its own pairs, in [-4, 4]
    random_csls: Array  # mean CSLS with strangers


def calibrate(
    vectors: Array, own: Array, keys: Sequence[str], styles: Sequence[str], bank: Bank
) -> Calibrated:
    """What pictures score with strangers, and both kinds of pair by CSLS.

    `vectors` is (n, d) with unit rows, `own` (n,) the mean cosine of each picture and its
    references. CSLS is 2 cos - r(picture) - r(reference); r is the mean cosine with the 10 nearest
    on the other side. Means over a picture's pairs.
    """
    random = with_strangers(vectors, styles, bank.vectors, bank.styles)
    of_pictures = mean_similarity(vectors, bank.vectors)  # (n,)
    of_bank = mean_similarity(bank.vectors, vectors)[:, None]  # (m, 1)
    one = np.ones((len(vectors), 1))
    of_own = _mean_of_own(of_bank, bank.keys, keys)
    of_strangers = with_strangers(one, styles, of_bank, bank.styles)
    nothing = np.where(np.isnan(random), np.nan, 0.0)
    return Calibrated(
        random=random,
        csls=2 * own - of_pictures - of_own + nothing,
        random_csls=2 * random - of_pictures - of_strangers,
    )


def with_strangers(
    vectors: Array, styles: Sequence[str], bank: Array, bank_styles: Sequence[str | None]
) -> Array:
    """The mean product (n,) of each row of `vectors` (n, d) with the rows of `bank` (m, d) of other
    styles, in O((n + m) d); NaN if all are of its style."""
    style, bank_style = _numbered(styles, bank_styles)
    sums, counts = _sums(bank, bank_style, 1 + max(style.max(), bank_style.max()))
    others = sums.sum(axis=0) - sums[style]  # (n, d)
    left = counts.sum() - counts[style]
    products = np.einsum("nd,nd->n", vectors, others, dtype=np.float64)
    return np.asarray(np.divide(products, left, out=np.full(len(left), np.nan), where=left > 0))


def _mean_of_own(values: Array, bank_keys: Sequence[str | None], keys: Sequence[str]) -> Array:
    """The mean (n,) of `values` (m, 1) over the rows that have a picture's key."""
    key, bank_key = _numbered(keys, bank_keys)
    sums, counts = _sums(values, bank_key, 1 + max(key.max(), bank_key.max()))
    return np.asarray(sums[key, 0] / counts[key])


def _sums(rows: Array, numbers: Array, size: int) -> tuple[Array, Array]:
    """The sum (size, d) of the rows of each number, float64, and how many there are (size,)."""
    sums = np.zeros((size, rows.shape[1]))
    np.add.at(sums, numbers, rows)
    return sums, np.bincount(numbers, minlength=size)


def _numbered(names: Sequence[str], others: Sequence[str | None]) -> tuple[Array, Array]:
    """Both as whole numbers from 0, equal where the names are equal."""
    number = {name: i for i, name in enumerate(dict.fromkeys([*names, *others]))}
    return np.array([number[name] for name in names]), np.array([number[name] for name in others])
