"""What kind of image it is: graphic, line drawing, painting or photograph.

Graphics are recognized by uniform areas and few colors. Paintings and photographs are separated by
a logistic model of five measures, fitted on 22 paintings and prints and 141 photographs; area under
the curve 0.92, leaving one out. Between them the kind is "unclear".
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from megastyle_cli.models.builtin.edges import Outline, measure_outline
from megastyle_cli.models.builtin.lighting import is_unshaded
from megastyle_cli.models.builtin.working_image import WorkingImage, rgb_5_bit

ImageKind = Literal[
    "blank", "line", "silhouette", "flat", "shaded", "painted", "photograph", "unclear"
]

MIN_MEDIUM_CONFIDENCE = 0.8  # for the medium to be named


@dataclass(frozen=True, kw_only=True, eq=False)
class KindEstimate:
    """The kind, the confidence in [0, 1] of the medium it stands for, the dark outlines that carry
    it (None if none do), and the probability in [0, 1] that it is painted (0 for graphics)."""

    kind: ImageKind
    confidence: float
    outline: Outline | None = None
    painted: float = 0.0


def estimate_kind(image: WorkingImage) -> KindEstimate:
    """The kind of an image; "unclear" between painting and photograph."""
    flat = float((image.gradient < 0.25).mean())
    num_colors, num_all_but_rare = _count_colors(image, (0.9, 0.97))
    if not (image.gradient > 2).any():
        return KindEstimate(kind="blank", confidence=0.0)
    # The larger share decides: a photograph cut out on white has few colors outside its subject.
    if flat >= 0.4 and num_all_but_rare <= 140:
        confidence = min(0.99, 0.5 + (flat - 0.3) * 1.5)
        # Lines of graphics scale with the image, up to 8 % of its long side.
        outline = measure_outline(image, reach=max(2, round(0.04 * max(image.gradient.shape))))
        return _graphic(image, outline if is_outlined(outline, 0.9) else None, confidence)
    outline = measure_outline(image, reach=5)
    painted = painted_probability(painting_features(image, outline, flat, num_colors))
    confidence = max(painted, 1 - painted)
    kind: ImageKind = "painted" if painted > 0.5 else "photograph"
    return KindEstimate(
        kind=kind if confidence >= MIN_MEDIUM_CONFIDENCE else "unclear",
        confidence=confidence,
        outline=outline if is_outlined(outline, 0.8) and painted > 0.5 else None,
        painted=painted,
    )


def is_outlined(outline: Outline | None, tidiness: float) -> bool:
    """Whether nearly all strong edges lie on dark lines with uniform areas beside them."""
    return outline is not None and outline.coverage >= 0.85 and outline.tidiness >= tidiness


# Fitted with scikit-learn's LogisticRegression (C 0.3, balanced classes), rounded to one digit.
_WEIGHTS = (0.7, -1.5, -0.8, 0.6, 0.7)
_BIAS = -1.4


def painted_probability(features: tuple[float, ...]) -> float:
    """The probability in [0, 1] that a continuous-tone image was painted or printed by hand."""
    score = _BIAS + sum(w * x for w, x in zip(_WEIGHTS, features, strict=True))
    return 1 / (1 + math.exp(-score))


def painting_features(
    image: WorkingImage, outline: Outline | None, flat: float, num_colors: int
) -> tuple[float, ...]:
    """Five measures, each scaled to a spread near 1: number of colors, share of uniform areas,
    yellowness of the darkest and of the lightest 5 % (varnish, paper), uniformity beside lines."""
    lightness, yellow = image.lightness.ravel(), image.lab[..., 2].ravel()
    twentieth = max(lightness.size // 20, 1)
    order = np.argpartition(lightness, (twentieth, lightness.size - twentieth - 1))
    return (
        float(np.log(num_colors)) - 6,
        (flat - 0.15) * 8,
        float(yellow[order[:twentieth]].mean()) / 10,
        float(yellow[order[-twentieth:]].mean()) / 15,
        (outline.tidiness - 0.6) * 5 if outline else -1.0,
    )


def _graphic(image: WorkingImage, outline: Outline | None, confidence: float) -> KindEstimate:
    """An image of uniform areas: lines only, shaded areas, one solid shape, or flat colors."""
    foreground = max(float(image.foreground.mean()), 1e-6)
    if outline is not None and outline.area / foreground > 0.65:
        kind: ImageKind = "line"
    elif not is_unshaded(image):
        kind = "shaded"
    else:
        kind = "silhouette" if outline is None and _is_one_color(image) else "flat"
    return KindEstimate(kind=kind, confidence=confidence, outline=outline)


def _is_one_color(image: WorkingImage) -> bool:
    inside = image.lab[image.foreground]
    if inside.size == 0:
        return False
    from_median = inside - np.median(inside, axis=0)
    return bool(((from_median * from_median).sum(axis=1) < 25).mean() > 0.75)


def _count_colors(image: WorkingImage, shares: tuple[float, ...]) -> list[int]:
    """How many colors (at 5 bits per channel) cover each share of the image."""
    counts = np.bincount(rgb_5_bit(image.rgb).ravel())
    covered = np.cumsum(np.sort(counts[counts > 0])[::-1])
    return [int(np.searchsorted(covered, share * covered[-1])) + 1 for share in shares]
