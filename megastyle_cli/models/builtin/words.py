"""Measures to words: identity, medium, outline and brushwork of a StyleAttributes."""

import numpy as np

from megastyle_cli.core.style import nearest_color
from megastyle_cli.models.builtin.canvas import Canvas
from megastyle_cli.models.builtin.lines import Outline, Strokes
from megastyle_cli.models.builtin.looks import SURE, Impression
from megastyle_cli.models.builtin.texture import Roughness, describe_scale

# Up to which share of the long side a line is called so.
_WEIGHTS = (
    (0.016, "thin"),
    (0.03, "slim"),
    (0.047, "medium-weight"),
    (0.061, "bold"),
    (1.0, "heavy"),
)
BRUSHED = 0.75  # probability of paint from which marks are called strokes

_NOUNS = {
    "line": "linework",
    "silhouette": "silhouette graphic",
    "flat": "flat graphic",
    "shaded": "shaded graphic",
    "painted": "painterly rendering",
    "photograph": "photographic realism",
    "unclear": "shaded picture",
}


# Where each hue ends, in degrees of the CIELAB hue circle.
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


def describe_tone(canvas: Canvas) -> str:
    """One word for lightness, chroma or the one hue of the figure, from every fourth pixel."""
    lab, figure = canvas.lab[::2, ::2], canvas.figure[::2, ::2]
    inside = lab[figure] if figure.any() else lab.reshape(-1, 3)
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
    """The hue of a CIELAB colour in one ordinary word; dark orange and yellow are brown."""
    degrees = float(np.degrees(np.arctan2(b, a))) % 360
    if 50 <= degrees < 100 and lightness < 60:
        return "brown"
    return next(name for end, name in _HUES if degrees < end)


def describe_identity(tone: str, impression: Impression) -> str:
    """A phrase under four words: the tone and what the picture looks like."""
    if impression.look == "blank":
        return "plain color field"
    if impression.outline is not None and impression.look in ("flat", "shaded", "painted"):
        kind = "print" if impression.look == "painted" else "graphic"
        return f"{tone} outlined {kind}"
    return f"{tone} {_NOUNS[impression.look]}"


def describe_medium(tone: str, impression: Impression, roughness: Roughness) -> str | None:
    """A visible cue and the medium, at most 4 words; None below the stated confidence."""
    if impression.confidence < SURE or impression.look == "unclear":
        return None
    if impression.look == "photograph":
        return "black-and-white photograph" if tone == "monochrome" else "color photograph"
    if impression.look == "painted":
        if impression.outline is not None:
            return "outlined color print"
        return "smooth paint" if roughness.rough < 0.4 else "textured paint"
    if impression.look == "line" and impression.outline is not None:
        return f"{_weight(impression.outline)} line drawing"
    named = {"silhouette": "solid shape graphic", "shaded": "gradient shaded graphic"}
    return named.get(impression.look, "flat color graphic")


def describe_outline(impression: Impression) -> str | None:
    """Width and colour of the outlines, such as "thin black outlines"; None without outlines."""
    if impression.outline is None:
        return None
    lightness, a, b = (float(value) for value in impression.outline.lab)
    return f"{_weight(impression.outline)} {nearest_color((lightness, a, b))} outlines"


def describe_brushwork(
    impression: Impression, strokes: Strokes, roughness: Roughness
) -> str | None:
    """Scale, direction and "strokes", at most 4 words.

    None on what is plain or outlined, or not likely to be painted.
    """
    if impression.outline is not None or impression.painted < BRUSHED:
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


def _weight(outline: Outline) -> str:
    return next(name for end, name in _WEIGHTS if outline.width < end)
