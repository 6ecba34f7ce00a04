"""How much of a style is kept when its pictures are described and rendered again.

Of each style there are originals and pictures rendered from captions of them. With S the mean
cosine of originals and renderings, K (ceiling) that of two originals and F (floor) that of
originals of different styles, what is kept is R = (S - F) / (K - F): 1 if a rendering is as close
as another original, 0 if it is a stranger. Only pictures of different contents are compared. The
slope of R on the log frequency of styles says whether rare ones lose more. Source: ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from megastyle_cli.retrieval.embed import Array

DRAWS = 2000
MIN_STYLES = 20  # fewer give no interval
LOST = 0.5  # a style that keeps less is counted


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Unit vectors (n, d) of pictures, and their styles and contents; a content may be unknown."""

    vectors: Array
    styles: Sequence[str]
    contents: Sequence[str | None]


def kept_style(
    originals: Pictures,
    rendered: Pictures,
    *,
    frequency: Mapping[str, float] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """What each style keeps, and over styles the median, the share below 0.5 and the slope.

    `frequency` says how often a style occurs where its describer or painter learned; the slope is
    that of a least-squares line over its natural logarithm. Intervals (95 %) resample styles.
    Styles are left out and counted that lack two originals or a rendering of another content, or
    whose originals are no closer to each other than strangers are.
    """
    floor = _floor(originals)
    styles = sorted(set(originals.styles) & set(rendered.styles))
    kept: dict[str, float] = {}
    for style in styles:
        ceiling = _mean_cosine(_of(originals, style), _of(originals, style), is_same=True)
        similarity = _mean_cosine(_of(originals, style), _of(rendered, style), is_same=False)
        if ceiling is not None and similarity is not None and ceiling > floor:
            kept[style] = (similarity - floor) / (ceiling - floor)
    values = np.array(list(kept.values()))
    summary: dict[str, Any] = {
        "styles": len(kept),
        "left_out": len(set(originals.styles) | set(rendered.styles)) - len(kept),
        "floor": floor,
        "kept_by_style": kept,
    }
    if not kept:
        return summary
    summary |= {"kept": float(np.median(values)), "lost_share": float((values < LOST).mean())}
    known = [style for style in kept if frequency and frequency.get(style, 0) > 0]
    rng = np.random.default_rng(seed)
    if len(kept) >= MIN_STYLES:
        rows = rng.integers(len(values), size=(DRAWS, len(values)))
        summary |= _bounds("kept", np.median(values[rows], axis=1))
        summary |= _bounds("lost_share", (values[rows] < LOST).mean(axis=1))
    if frequency and len(known) > 1:
        x = np.log([frequency[style] for style in known])
        y = np.array([kept[style] for style in known])
        summary |= {"frequency_styles": len(known), "frequency_slope": float(_slope(x, y))}
        if len(known) >= MIN_STYLES:
            rows = rng.integers(len(known), size=(DRAWS, len(known)))
            summary |= _bounds("frequency_slope", _slope(x[rows], y[rows]))
    return summary


def _of(pictures: Pictures, style: str) -> Pictures:
    rows = [row for row, name in enumerate(pictures.styles) if name == style]
    return Pictures(
        vectors=pictures.vectors[rows],
        styles=[style] * len(rows),
        contents=[pictures.contents[row] for row in rows],
    )


def _mean_cosine(one: Pictures, other: Pictures, *, is_same: bool) -> float | None:
    """The mean cosine of pictures of different contents; None if there is no such pair.

    `is_same` says that both are the same pictures, of which none is compared with itself. A content
    that is not known is different from all.
    """
    cosines = one.vectors.astype(np.float64) @ other.vectors.T
    is_known = np.array([content is not None for content in one.contents])[:, None]
    names = np.array([str(content) for content in one.contents])[:, None]
    equal = (names == np.array([str(content) for content in other.contents])) & is_known
    if is_same:
        np.fill_diagonal(equal, val=True)
    return float(cosines[~equal].mean()) if (~equal).any() else None


def _floor(originals: Pictures) -> float:
    """The mean cosine of originals of different styles, from the sums of each style."""
    names = sorted(set(originals.styles))
    number = {name: row for row, name in enumerate(names)}
    rows = np.array([number[name] for name in originals.styles], dtype=np.intp)
    sums = np.zeros((len(names), originals.vectors.shape[1]))
    np.add.at(sums, rows, originals.vectors)
    sizes = np.bincount(rows, minlength=len(names)).astype(float)
    total = sums.sum(axis=0)
    pairs = len(rows) ** 2 - (sizes**2).sum()
    return float((total @ total - np.einsum("sd,sd->", sums, sums)) / pairs) if pairs else 0.0


def _slope(x: Array, y: Array) -> Array:
    """The slope of the least-squares line along the last axis; 0 if all x are equal."""
    x = x - x.mean(axis=-1, keepdims=True)
    spread = (x**2).sum(axis=-1)
    return np.asarray((x * y).sum(axis=-1) / np.where(spread > 0, spread, np.inf))


def _bounds(name: str, drawn: Array) -> dict[str, float]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {f"{name}_low": float(low), f"{name}_high": float(high)}
