"""Style attributes, the style prompt they make, and names of colors.

There are two templates: `v1` is that of the released prompts, `v2` that of the successor, with
optional slots. An attribute that is None leaves its slot out. `style_sentence` never cuts a value:
keeping to its `max_words` is the captioner's task.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any

from megastyle_cli.core.choices import StyleSchema

V1_WORDS = 32
_IF_NONE = 'answer "N/A" if there is none'


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """One style attribute: its limit, its description, its column, its words in the v2 template.

    `description` is what a model is asked for. An attribute that is not optional is one that every
    picture has. `column` is its name in the table of a release. The template has `prefix` before
    the value, which an answer may repeat, and `suffix` after it, unless the value ends with that.
    """

    max_words: int
    description: str
    optional: bool = True
    column: str | None = None
    prefix: str = ""
    suffix: str = ""


def _attribute(max_words: int, description: str, **more: Any) -> Any:
    known = Attribute(max_words=max_words, description=description, **more)
    return field(default=None, metadata={"attribute": known})


@dataclass(frozen=True, kw_only=True)
class StyleAttributes:
    """The attributes of a picture's style, in their order in the v2 template but for the outline.

    None stands for one that was not seen.
    """

    identity: str | None = _attribute(
        3,
        "the one distinctive phrase for the overall style, at most 3 words; not a word that fits"
        ' half of all pictures, such as "painting" or "digital art"',
        optional=False,
        column="overall artistic style",
        prefix="in the style of ",
    )
    colors: str | None = _attribute(
        4,
        "the dominant colors, at most 4 words, color names only, not where they are",
        optional=False,
        column="dominant colors",
    )
    accents: str | None = _attribute(
        4,
        f"the accent colors, at most 4 words, color names only; {_IF_NONE}",
        column="supporting colors",
    )
    light: str | None = _attribute(
        8,
        "where the light comes from and how brightness changes over the picture, at most 8 words;"
        ' no color of the light; not a word alone such as "diffused" or "natural"',
        optional=False,
        column="light",
        suffix="lighting",
    )
    pattern: str | None = _attribute(
        4,
        f"the pattern that repeats over surfaces, at most 4 words, no commas; {_IF_NONE}",
        column="visual pattern",
        suffix="as repeating visual patterns",
    )
    surface: str | None = _attribute(
        4,
        "the state of the surface, such as cracked, glossy or grainy, at most 4 words, no commas;"
        f" {_IF_NONE}",
        column="surface status",
        suffix="surface",
    )
    edges: str | None = _attribute(
        1,
        f'how shapes end: "soft" or "sharp"; {_IF_NONE}',
        column="edge rendering",
        suffix="edges",
    )
    outline: str | None = _attribute(
        4, f"the outlines' thickness and color, at most 4 words; {_IF_NONE}", prefix="with "
    )
    brushwork: str | None = _attribute(
        4,
        "scale and layering of the strokes and then their kind, such as broad heavy impasto, at"
        f" most 4 words, no commas; {_IF_NONE}",
        column="brushwork",
    )
    medium: str | None = _attribute(
        4,
        "the medium, with the visible cue for it before it, such as long fur 3D rendering, at most"
        ' 4 words; not "digital rendering"; answer "N/A" if it cannot be told',
        column="medium",
        prefix="in ",
    )


# Everything else about an attribute follows from its field.
ATTRIBUTES: dict[str, Attribute] = {
    each.name: each.metadata["attribute"] for each in fields(StyleAttributes)
}
_PLACED = ("identity", "colors", "accents", "outline")  # these have places of their own in v2
ATTRIBUTE_KEYS = tuple(f"style_{name}" for name in ATTRIBUTES)


def attribute_keys(attributes: StyleAttributes) -> dict[str, str]:
    """The attributes that are not None, as record keys: `style_identity`, `style_colors`, ..."""
    named = {f"style_{name}": getattr(attributes, name) for name in ATTRIBUTES}
    return {key: value for key, value in named.items() if value is not None}


def style_sentence(attributes: StyleAttributes, schema: StyleSchema = "v2") -> str:
    """The style prompt of `attributes`; empty if there are none.

    v1: "In the style of <identity>, <colors> with <accents> accents, <light> lighting, <medium>,
    <pattern> pattern, <brushwork>." (the surface, if there is no pattern), kept within 32 words by
    leaving out the accents, then the pattern or surface, then the brushwork.
    v2: "With <outline>. In the style of <identity>, <colors> with <accents> accents, <light>
    lighting, <pattern> as repeating visual patterns, <surface> surface, <soft|sharp> edges,
    <brushwork>, in <medium>." Without an identity both begin "In a style of", then the next slot.
    Source: the v2 template of MegaStyle++ (arXiv 2609.01423); v1 rebuilt from released prompts.
    """
    return _v1_sentence(attributes) if schema == "v1" else _v2_sentence(attributes)


def _v1_sentence(seen: StyleAttributes) -> str:
    texture = _slot(seen.pattern, "pattern") or _slot(seen.surface, "surface")
    colors, light, medium = _palette(seen), _slot(seen.light, "lighting"), seen.medium
    plain = _palette(StyleAttributes(colors=seen.colors))
    attempts = [
        [colors, light, medium, texture, seen.brushwork],
        [plain, light, medium, texture, seen.brushwork],
        [plain, light, medium, None, seen.brushwork],
    ]
    for slots in attempts:
        sentence = _join_slots(seen.identity, slots)
        if len(sentence.split()) <= V1_WORDS:
            return sentence
    return _join_slots(seen.identity, [plain, light, medium])


def _v2_sentence(seen: StyleAttributes) -> str:
    slots = [_palette(seen)]
    for name, each in ATTRIBUTES.items():
        value = getattr(seen, name)
        if value and name not in _PLACED:
            slots.append(f"{each.prefix}{_slot(value, each.suffix)}")
    outline = f"With {seen.outline}." if seen.outline else ""
    return f"{outline} {_join_slots(seen.identity, slots)}".strip()


def _palette(seen: StyleAttributes) -> str | None:
    """The color slot; "palette" follows colors that have no accents beside them."""
    accents = _slot(seen.accents, "accents")
    if seen.colors and accents:
        return f"{seen.colors} with {accents}"
    return accents or _slot(seen.colors, "palette")


def _slot(value: str | None, noun: str) -> str | None:
    """`value` followed by its noun, if it has one, unless it ends with that noun already."""
    if not value or not noun or value.endswith(f" {noun}"):
        return value
    return f"{value} {noun}"


def _join_slots(identity: str | None, slots: list[str | None]) -> str:
    listed = ", ".join(slot for slot in slots if slot)
    if identity:
        return f"In the style of {identity}{', ' if listed else ''}{listed}."
    return f"In a style of {listed}." if listed else ""


def nearest_color(lab: tuple[float, float, float]) -> str:
    """The common name nearest to a CIELAB color (L in [0, 100]; a, b about -110 to 110; D65).

    Differences in chroma and hue count less between saturated colors: CIE94, with the geometric
    mean of both chromas. Ties go to the name that comes first in COLORS.
    """
    lightness, a, b = lab
    chroma = math.hypot(a, b)
    root = math.sqrt(chroma)
    best, shortest = "", math.inf
    for name, (its_lightness, its_a, its_b), its_chroma, its_root in _TABLE:
        if (lightness - its_lightness) ** 2 > shortest + 1e-6:  # more than the other terms round to
            continue
        strength = root * its_root
        chroma_gap = chroma - its_chroma
        hue_gap = (a - its_a) ** 2 + (b - its_b) ** 2 - chroma_gap**2
        distance = (
            (lightness - its_lightness) ** 2
            + chroma_gap**2 / (1 + 0.045 * strength) ** 2
            + hue_gap / (1 + 0.015 * strength) ** 2
        )
        if distance < shortest:
            best, shortest = name, distance
    return best


# CIELAB of typical samples; the choice is ours.
COLORS: dict[str, tuple[int, int, int]] = {
    "black": (0, 0, 0),
    "charcoal": (24, 0, -3),
    "slate": (43, -2, -9),
    "gray": (54, 0, 0),
    "silver": (75, 0, -1),
    "white": (100, 0, 0),
    "ivory": (97, -1, 10),
    "cream": (92, -1, 19),
    "beige": (84, 1, 19),
    "tan": (73, 5, 27),
    "khaki": (69, -3, 27),
    "taupe": (51, 3, 10),
    "umber": (32, 7, 13),
    "brown": (36, 17, 29),
    "dark brown": (17, 9, 15),
    "chocolate": (25, 17, 23),
    "sienna": (44, 29, 36),
    "rust": (44, 44, 46),
    "terracotta": (56, 35, 36),
    "copper": (55, 22, 45),
    "bronze": (47, 7, 38),
    "ochre": (62, 16, 57),
    "mustard": (71, 4, 66),
    "gold": (77, 4, 74),
    "amber": (77, 18, 81),
    "orange": (67, 43, 72),
    "dark orange": (55, 44, 61),
    "peach": (85, 13, 26),
    "apricot": (76, 20, 40),
    "salmon": (68, 39, 30),
    "coral": (64, 53, 43),
    "red": (50, 76, 60),
    "scarlet": (57, 70, 62),
    "crimson": (39, 62, 31),
    "maroon": (23, 40, 17),
    "burgundy": (17, 29, 4),
    "brick red": (37, 43, 31),
    "pink": (77, 32, 1),
    "pale pink": (90, 11, 2),
    "rose": (56, 58, 6),
    "hot pink": (59, 78, -11),
    "magenta": (49, 76, -22),
    "fuchsia": (60, 98, -61),
    "mauve": (61, 21, -11),
    "plum": (33, 37, -16),
    "purple": (36, 55, -52),
    "violet": (47, 57, -65),
    "lavender": (79, 14, -24),
    "lilac": (70, 23, -22),
    "indigo": (25, 35, -52),
    "navy": (14, 13, -31),
    "midnight": (5, 5, -15),
    "royal blue": (39, 35, -70),
    "blue": (33, 64, -94),
    "azure": (56, 12, -61),
    "cobalt": (33, 17, -50),
    "steel blue": (50, -4, -28),
    "sky blue": (77, -10, -27),
    "pale blue": (87, -3, -10),
    "powder blue": (74, -3, -12),
    "denim": (35, -2, -24),
    "petrol": (28, -10, -16),
    "teal": (48, -28, -9),
    "dark teal": (28, -18, -5),
    "turquoise": (76, -42, -5),
    "cyan": (83, -40, -21),
    "aqua": (87, -24, -6),
    "mint": (89, -25, 12),
    "sea green": (57, -37, 13),
    "emerald": (60, -53, 30),
    "green": (51, -49, 41),
    "bright green": (76, -73, 66),
    "forest green": (29, -26, 18),
    "dark green": (17, -17, 11),
    "lime": (82, -45, 77),
    "chartreuse": (88, -32, 81),
    "olive": (48, -10, 41),
    "dark olive": (27, -6, 22),
    "moss": (48, -22, 34),
    "sage": (70, -14, 17),
    "pale green": (88, -14, 19),
    "lemon": (94, -11, 58),
    "yellow": (90, -10, 87),
    "sand": (80, 2, 25),
    "mahogany": (22, 28, 21),
}
_TABLE = [
    (name, lab, math.hypot(*lab[1:]), math.sqrt(math.hypot(*lab[1:])))
    for name, lab in COLORS.items()
]
