"""Tiers of a benchmark: which part of the gallery a query searches, and in which pictures.

  plain            all of the gallery
  other-contents   without pictures of the query's content
  same-content     the query's style, and other styles only in the query's content
  within-group     styles of the query's group only
  near             the query's style and the 10 nearest styles
  grey             all of the gallery, every picture in its luminance only
  color-matched    all of the gallery, with the mean and spread of every picture's colors made equal

All but the last two are masks over one set of vectors. Near styles are those of nearest prompts by
the builtin text embedder or, without prompts, of nearest mean color histograms; never those of an
encoder under test, which would punish it most.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from megastyle_cli.retrieval.embed import Array

MASKS = ("plain", "other-contents", "same-content", "within-group", "near")
TRANSFORMS = ("grey", "color-matched")
TIERS = (*MASKS, *TRANSFORMS)
NUM_NEAR = 10

# n pictures, t styles, b queries at a time, g pictures of the gallery


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Integer codes (n,) of each picture's style, content and group; its part in the benchmark.

    `near` (t, t) says for each style which styles are near it, itself included; None: unknown.
    """

    style: Array
    content: Array
    group: Array
    is_query: Array
    near: Array | None = None

    @property
    def queries(self) -> Array:
        """Row numbers (q,) of the queries."""
        return np.flatnonzero(self.is_query)

    @property
    def gallery(self) -> Array:
        """Row numbers (g,) of the gallery."""
        return np.flatnonzero(~self.is_query)


def change_of(tier: str) -> str:
    """How a tier changes the pictures: its name, or "" if it is a mask."""
    return tier if tier in TRANSFORMS else ""


def codes(names: Sequence[str]) -> Array:
    """Integer codes (n,) from 0, in the order in which names first occur."""
    known = {name: code for code, name in enumerate(dict.fromkeys(names))}
    return np.array([known[name] for name in names], int)


def allowed(tier: str, labels: Labels, rows: Array) -> Array:
    """Which pictures of the gallery (b, g) each of the queries `rows` (b,) searches."""
    gallery = labels.gallery
    style = labels.style[rows, None] == labels.style[gallery]
    content = labels.content[rows, None] == labels.content[gallery]
    mask = np.ones(style.shape, bool)
    if tier == "other-contents":
        mask = ~content
    elif tier == "same-content":
        mask = style | content
    elif tier == "within-group":
        mask = labels.group[rows, None] == labels.group[gallery]
    elif tier == "near" and labels.near is not None:
        mask = labels.near[labels.style[rows, None], labels.style[gallery]]
    return np.asarray(mask)


def near_styles(prototypes: Array, count: int = NUM_NEAR) -> Array:
    """Which styles (t, t) are among the `count` nearest of each by cosine, or that style itself.

    `prototypes` is (t, d), a vector of any length for each style; ties go to the lower code.
    """
    lengths = np.linalg.norm(prototypes, axis=1, keepdims=True)
    unit = prototypes / np.maximum(lengths, 1e-12)
    cosines = np.round(unit @ unit.T, 9)
    np.fill_diagonal(cosines, np.inf)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, : count + 1]
    near = np.zeros(cosines.shape, bool)
    np.put_along_axis(near, order, True, axis=1)
    return near


def style_means(vectors: Array, style: Array) -> Array:
    """The mean vector (t, d) of the pictures of each style."""
    sums = np.zeros((style.max() + 1, vectors.shape[1]))
    np.add.at(sums, style, vectors.astype(np.float64))
    means: Array = sums / np.bincount(style)[:, None]
    return means
