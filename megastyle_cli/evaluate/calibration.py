"""Calibration of style scores: the mean cosine with unrelated references, and CSLS.

A raw cosine has no zero point: some images are close to everything (arXiv 2605.09030 finds artists
whose own works score below other artists'). So a score is reported beside that of negatives:
references of other styles.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from megastyle_cli.retrieval.csls import mean_similarity
from megastyle_cli.retrieval.embed import Array

# n images, m reference images, d width


@dataclass(frozen=True, kw_only=True)
class ReferenceBank:
    """Reference images: their vectors (m, d) with unit rows, and a key and a style for each row.

    The references of an image are the rows with its key. Its negatives are the rows with another
    style, including those of style None.
    """

    vectors: Array
    keys: Sequence[str | None]
    styles: Sequence[str | None]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """For each image (n,), float64; NaN where an image has no negatives."""

    random: Array  # mean cosine with negatives
    csls: Array  # mean CSLS with its own references, in [-4, 4]
    random_csls: Array  # mean CSLS with negatives


def calibrate(
    vectors: Array, own: Array, keys: Sequence[str], styles: Sequence[str], bank: ReferenceBank
) -> Calibration:
    """The baseline and the CSLS of each image, as means over its pairs with references.

    `vectors` is (n, d) with unit rows, `own` (n,) the mean cosine of each image with its
    references. CSLS is 2 cos - r(image) - r(reference); r is the mean cosine with the 10 nearest
    of the other side.
    """
    random = similarity_to_negatives(vectors, styles, bank.vectors, bank.styles)
    r_images = mean_similarity(vectors, bank.vectors)  # (n,)
    r_bank = mean_similarity(bank.vectors, vectors)[:, None]  # (m, 1)
    r_own = _mean_by_key(r_bank, bank.keys, keys)
    ones = np.ones((len(vectors), 1))
    r_negatives = similarity_to_negatives(ones, styles, r_bank, bank.styles)
    nan_without_negatives = np.where(np.isnan(random), np.nan, 0.0)
    return Calibration(
        random=random,
        csls=2 * own - r_images - r_own + nan_without_negatives,
        random_csls=2 * random - r_images - r_negatives,
    )


def similarity_to_negatives(
    vectors: Array, styles: Sequence[str], bank: Array, bank_styles: Sequence[str | None]
) -> Array:
    """The mean product (n,) of each row of `vectors` (n, d) with the rows of `bank` (m, d) of other
    styles, in O((n + m) d); NaN if there are none."""
    style, bank_style = _encode_labels(styles, bank_styles)
    sums, counts = _group_sums(bank, bank_style, 1 + max(style.max(), bank_style.max()))
    negative_sums = sums.sum(axis=0) - sums[style]  # (n, d)
    negative_counts = counts.sum() - counts[style]  # (n,)
    products = np.einsum("nd,nd->n", vectors, negative_sums, dtype=np.float64)
    means = np.full(len(vectors), np.nan)
    return np.asarray(np.divide(products, negative_counts, out=means, where=negative_counts > 0))


def _mean_by_key(values: Array, bank_keys: Sequence[str | None], keys: Sequence[str]) -> Array:
    """The mean (n,) of `values` (m, 1) over the rows of the bank that have an image's key."""
    key, bank_key = _encode_labels(keys, bank_keys)
    sums, counts = _group_sums(values, bank_key, 1 + max(key.max(), bank_key.max()))
    return np.asarray(sums[key, 0] / counts[key])


def _group_sums(rows: Array, groups: Array, num_groups: int) -> tuple[Array, Array]:
    """The sum (num_groups, d) float64 of the rows of each group, and their number (num_groups,)."""
    sums = np.zeros((num_groups, rows.shape[1]))
    np.add.at(sums, groups, rows)
    return sums, np.bincount(groups, minlength=num_groups)


def _encode_labels(names: Sequence[str], others: Sequence[str | None]) -> tuple[Array, Array]:
    """Both as integer codes from 0, equal where the names are equal."""
    code = {name: i for i, name in enumerate(dict.fromkeys([*names, *others]))}
    return np.array([code[name] for name in names]), np.array([code[name] for name in others])
