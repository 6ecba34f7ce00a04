"""What kind of image it is: graphic, line drawing, painting or photograph, and phrases for it.

Graphics are recognized by uniform areas and few colors. Paintings and photographs are separated by
a logistic model of five measures, fitted on 22 paintings and prints and 141 photographs; area under
the curve 0.92, leaving one out. Between them the kind is "unclear".
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from megastyle_cli.core.style import nearest_color
from megastyle_cli.models.builtin.lighting import is_unshaded
from megastyle_cli.models.builtin.texture import (
    Outline,
    Roughness,
    Strokes,
    describe_scale,
    measure_outline,
)
from megastyle_cli.models.builtin.working_image import WorkingImage, share

ImageKind = Literal[
    "blank", "line", "silhouette", "flat", "shaded", "painted", "photograph", "unclear"
]

MIN_MEDIUM_CONFIDENCE = 0.8  # for the medium to be named
MIN_PAINTED = 0.75  # probability of a painting for its texture to be called strokes
# Line weight by the maximum width as a share of the long side.
_LINE_WEIGHTS = (
    (0.016, "thin"),
    (0.03, "slim"),
    (0.047, "medium-weight"),
    (0.061, "bold"),
    (1.0, "heavy"),
)
_KIND_NOUNS = {
    "line": "linework",
    "silhouette": "silhouette graphic",
    "flat": "flat graphic",
    "shaded": "shaded graphic",
    "painted": "painterly rendering",
    "photograph": "photographic realism",
    "unclear": "shaded picture",
}


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
    flat = image.flat_share
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
    foreground = max(share(image.foreground), 1e-6)
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
    return share((from_median * from_median).sum(axis=1) < 25) > 0.75


def _count_colors(image: WorkingImage, shares: tuple[float, ...]) -> list[int]:
    """How many colors (at 5 bits per channel) cover each share of the image."""
    counts = image.color_counts
    covered = np.cumsum(np.sort(counts[counts > 0])[::-1])
    return [int(np.searchsorted(covered, share * covered[-1])) + 1 for share in shares]


def describe_identity(tone: str, estimate: KindEstimate) -> str:
    """A phrase of at most three words: the tone and the kind of image."""
    if estimate.kind == "blank":
        return "plain color field"
    if estimate.outline is not None and estimate.kind in ("flat", "shaded", "painted"):
        kind = "print" if estimate.kind == "painted" else "graphic"
        return f"{tone} outlined {kind}"
    return f"{tone} {_KIND_NOUNS[estimate.kind]}"


def describe_medium(tone: str, estimate: KindEstimate, roughness: Roughness) -> str | None:
    """A visible cue and the medium, at most 4 words; None if the medium is uncertain."""
    if estimate.confidence < MIN_MEDIUM_CONFIDENCE or estimate.kind == "unclear":
        return None
    if estimate.kind == "photograph":
        return "black-and-white photograph" if tone == "monochrome" else "color photograph"
    if estimate.kind == "painted":
        if estimate.outline is not None:
            return "outlined color print"
        return "smooth paint" if roughness.rough < 0.4 else "textured paint"
    if estimate.kind == "line" and estimate.outline is not None:
        return f"{_line_weight(estimate.outline)} line drawing"
    named = {"silhouette": "solid shape graphic", "shaded": "gradient shaded graphic"}
    return named.get(estimate.kind, "flat color graphic")


def describe_outline(estimate: KindEstimate) -> str | None:
    """Weight and color of the outlines, such as "thin black outlines"; None without outlines."""
    if estimate.outline is None:
        return None
    lightness, a, b = (float(value) for value in estimate.outline.lab)
    return f"{_line_weight(estimate.outline)} {nearest_color((lightness, a, b))} outlines"


def describe_brushwork(
    estimate: KindEstimate, strokes: Strokes, roughness: Roughness
) -> str | None:
    """Scale, direction and "strokes", at most 4 words.

    None for images that are smooth, outlined or unlikely to be painted.
    """
    if estimate.outline is not None or estimate.painted < MIN_PAINTED:
        return None
    if strokes.share < 0.6 or strokes.coherence < 0.4:
        return None
    scale = describe_scale(roughness)
    return f"{'medium-scale' if scale == 'medium' else scale} {_direction(strokes)} strokes"


def _direction(strokes: Strokes) -> str:
    if strokes.agreement > 0.35:
        eighth = round(strokes.angle / (np.pi / 4)) % 4
        return ("horizontal", "diagonal", "vertical", "diagonal")[eighth]
    return "curving" if strokes.flow > 0.62 else "multidirectional"


def _line_weight(outline: Outline) -> str:
    return next(name for end, name in _LINE_WEIGHTS if outline.width < end)
