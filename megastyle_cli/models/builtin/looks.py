"""What kind of picture it looks like: graphic, line drawing, painted or photograph.

Graphics are told by plain areas and few colours. Painted and photographed pictures are told apart
by a logistic model of five measures, fitted on 22 paintings and prints and 141 photographs; left
out one by one, area under the curve 0.92. In between nothing is claimed.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from megastyle_cli.models.builtin.canvas import Canvas
from megastyle_cli.models.builtin.light import unshaded
from megastyle_cli.models.builtin.lines import Outline, measure_outline

Look = Literal["blank", "line", "silhouette", "flat", "shaded", "painted", "photograph", "unclear"]

SURE = 0.8  # of the medium, for it to be named


@dataclass(frozen=True, kw_only=True, eq=False)
class Impression:
    """The look, the confidence in [0, 1] of the medium it stands for, the dark outlines that carry
    it (None if none do), and the probability in [0, 1] that it was painted (0 for graphics)."""

    look: Look
    confidence: float
    outline: Outline | None = None
    painted: float = 0.0


def judge(canvas: Canvas) -> Impression:
    """The look of a picture; "unclear" between painted and photographed."""
    flat = float((canvas.steep < 0.25).mean())
    num_colors, num_all_but_rare = _colors_of(canvas, (0.9, 0.97))
    if not (canvas.steep > 2).any():
        return Impression(look="blank", confidence=0.0)
    # The wider share counts: a photograph cut out on white has few colours but for its figure.
    if flat >= 0.4 and num_all_but_rare <= 140:
        confidence = min(0.99, 0.5 + (flat - 0.3) * 1.5)
        # Lines of graphics are drawn in proportion to the picture, up to 8 % of its long side.
        outline = measure_outline(canvas, reach=max(2, round(0.04 * max(canvas.steep.shape))))
        return _graphic(canvas, outline if is_outlined(outline, 0.9) else None, confidence)
    outline = measure_outline(canvas, reach=5)
    painted = painted_probability(paint_evidence(canvas, outline, flat, num_colors))
    confidence = max(painted, 1 - painted)
    look: Look = "painted" if painted > 0.5 else "photograph"
    return Impression(
        look=look if confidence >= SURE else "unclear",
        confidence=confidence,
        outline=outline if is_outlined(outline, 0.8) and painted > 0.5 else None,
        painted=painted,
    )


def is_outlined(outline: Outline | None, tidiness: float) -> bool:
    """Whether nearly all strong edges lie on dark lines with plain areas beside them."""
    return outline is not None and outline.coverage >= 0.85 and outline.tidiness >= tidiness


# Fitted with scikit-learn's LogisticRegression (C 0.3, balanced classes), rounded to one digit.
_WEIGHTS = (0.7, -1.5, -0.8, 0.6, 0.7)
_BIAS = -1.4


def painted_probability(evidence: tuple[float, ...]) -> float:
    """The probability in [0, 1] that a continuous-tone picture was painted or printed by hand."""
    score = _BIAS + sum(w * x for w, x in zip(_WEIGHTS, evidence, strict=True))
    return 1 / (1 + math.exp(-score))


def paint_evidence(
    canvas: Canvas, outline: Outline | None, flat: float, num_colors: int
) -> tuple[float, ...]:
    """Five measures, each scaled to a spread near 1: richness of colours, plain areas, yellowness
    of the darkest and of the lightest twentieth (varnish, paper), plainness beside dark lines."""
    lightness, yellow = canvas.lightness.ravel(), canvas.lab[..., 2].ravel()
    twentieth = max(lightness.size // 20, 1)
    order = np.argpartition(lightness, (twentieth, lightness.size - twentieth - 1))
    return (
        float(np.log(num_colors)) - 6,
        (flat - 0.15) * 8,
        float(yellow[order[:twentieth]].mean()) / 10,
        float(yellow[order[-twentieth:]].mean()) / 15,
        (outline.tidiness - 0.6) * 5 if outline else -1.0,
    )


def _graphic(canvas: Canvas, outline: Outline | None, confidence: float) -> Impression:
    """A picture of plain areas: lines only, shaded areas, one solid shape, or flat colours."""
    figure = max(float(canvas.figure.mean()), 1e-6)
    if outline is not None and outline.area / figure > 0.65:
        look: Look = "line"
    elif not unshaded(canvas):
        look = "shaded"
    else:
        look = "silhouette" if outline is None and _is_one_color(canvas) else "flat"
    return Impression(look=look, confidence=confidence, outline=outline)


def _is_one_color(canvas: Canvas) -> bool:
    inside = canvas.lab[canvas.figure]
    if inside.size == 0:
        return False
    from_middle = inside - np.median(inside, axis=0)
    return bool(((from_middle * from_middle).sum(axis=1) < 25).mean() > 0.75)


def _colors_of(canvas: Canvas, shares: tuple[float, ...]) -> list[int]:
    """How many colours (at 5 bits a channel) cover each share of the picture."""
    top = (canvas.rgb >> 3).astype(np.int32)
    counts = np.bincount(((top[..., 0] << 10) | (top[..., 1] << 5) | top[..., 2]).ravel())
    covered = np.cumsum(np.sort(counts[counts > 0])[::-1])
    return [int(np.searchsorted(covered, share * covered[-1])) + 1 for share in shares]
