"""Phrases for the identity, medium, outline and brushwork of a StyleAttributes."""

import numpy as np

from megastyle_cli.core.style import nearest_color
from megastyle_cli.models.builtin.edges import Outline, Strokes
from megastyle_cli.models.builtin.image_kind import MIN_MEDIUM_CONFIDENCE, KindEstimate
from megastyle_cli.models.builtin.texture import Roughness, describe_scale
from megastyle_cli.models.builtin.working_image import WorkingImage

# Line weight by the maximum width as a share of the long side.
_LINE_WEIGHTS = (
    (0.016, "thin"),
    (0.03, "slim"),
    (0.047, "medium-weight"),
    (0.061, "bold"),
    (1.0, "heavy"),
)
MIN_PAINTED = 0.75  # probability of a painting for its texture to be called strokes

_KIND_NOUNS = {
    "line": "linework",
    "silhouette": "silhouette graphic",
    "flat": "flat graphic",
    "shaded": "shaded graphic",
    "painted": "painterly rendering",
    "photograph": "photographic realism",
    "unclear": "shaded picture",
}

# The upper end of each hue, in degrees of the CIELAB hue circle.
_HUES = (
    (5, "pink"),
    (45, "red"),
    (80, "orange"),
    (105, "yellow"),
    (165, "green"),
    (220, "teal"),
    (308, "blue"),
    (335, "purple"),
    (361, "pink"),
)


def describe_tone(image: WorkingImage) -> str:
    """One word for the lightness, chroma or hue of the foreground, from every fourth pixel."""
    lab, foreground = image.lab[::2, ::2], image.foreground[::2, ::2]
    inside = lab[foreground] if foreground.any() else lab.reshape(-1, 3)
    chroma = np.hypot(inside[:, 1], inside[:, 2])
    lightness, strength = float(inside[:, 0].mean()), float(chroma.mean())
    rank = int(chroma.size * 0.95)
    if np.partition(chroma, rank)[rank] < 5:
        return "monochrome"
    if lightness < 33:
        return "dark"
    a, b = float(inside[:, 1].mean()), float(inside[:, 2].mean())
    if strength > 12 and np.hypot(a, b) > 0.85 * strength:
        return f"{_hue(lightness, a, b)}-toned"
    if strength > 38:
        return "vivid"
    if lightness > 72 and strength < 25:
        return "pale"
    return "muted" if strength < 18 else "colorful"


def _hue(lightness: float, a: float, b: float) -> str:
    """The hue of a CIELAB color in one word; dark orange and yellow are brown."""
    degrees = float(np.degrees(np.arctan2(b, a))) % 360
    if 50 <= degrees < 100 and lightness < 60:
        return "brown"
    return next(name for end, name in _HUES if degrees < end)


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
