"""Style prompts: templates, slots left out, and that the v2 template loses nothing."""

import math
import random
from dataclasses import fields, replace

import pytest

from megastyle_cli.core.style import (
    ATTRIBUTES,
    COLORS,
    V1_WORDS,
    StyleAttributes,
    attribute_keys,
    nearest_color,
    style_sentence,
)
from tests.core.style_parser import parse_style

NAMES = [field.name for field in fields(StyleAttributes)]
WORDS = ["thin", "black", "sky", "blue", "high-contrast", "wave", "broad", "flat", "ink", "and"]
FULL = StyleAttributes(
    identity="muted outlined print",
    colors="navy and ivory",
    accents="coral",
    light="bright gradual left-to-right",
    pattern="horizontal stripes",
    surface="fine-grained",
    edges="sharp",
    outline="thin black outlines",
    brushwork="broad horizontal strokes",
    medium="outlined color print",
)


def drawn_attributes(rng: random.Random) -> StyleAttributes:
    """Attributes of random words within the limits, each slot empty one time in three."""
    values = {
        name: " ".join(rng.choices(WORDS, k=rng.randint(1, ATTRIBUTES[name].max_words)))
        for name in NAMES
        if rng.random() > 1 / 3
    }
    return StyleAttributes(**values)


def test_the_v2_sentence_has_every_slot_in_order() -> None:
    assert style_sentence(FULL, "v2") == (
        "With thin black outlines. In the style of muted outlined print, navy and ivory with "
        "coral accents, bright gradual left-to-right lighting, horizontal stripes as repeating "
        "visual patterns, fine-grained surface, sharp edges, broad horizontal strokes, in "
        "outlined color print."
    )


def test_the_v1_sentence_has_its_slots_in_order() -> None:
    assert style_sentence(FULL, "v1") == (
        "In the style of muted outlined print, navy and ivory with coral accents, bright gradual "
        "left-to-right lighting, outlined color print, horizontal stripes pattern, broad "
        "horizontal strokes."
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("schema", ["v1", "v2"])
def test_a_missing_attribute_leaves_clean_punctuation(name: str, schema: str) -> None:
    sentence = style_sentence(replace(FULL, **{name: None}), schema)  # type: ignore[arg-type]

    assert getattr(FULL, name) not in sentence
    assert sentence.endswith(".") and not sentence.endswith("..")
    assert ", ," not in sentence and "  " not in sentence and "of ," not in sentence


def test_no_attributes_give_an_empty_sentence() -> None:
    assert style_sentence(StyleAttributes(), "v1") == ""
    assert style_sentence(StyleAttributes(), "v2") == ""


def test_a_noun_is_not_repeated() -> None:
    seen = StyleAttributes(light="soft lighting", surface="rough surface", edges="soft edges")

    for schema in ("v1", "v2"):
        words = style_sentence(seen, schema).replace(",", "").rstrip(".").split()  # type: ignore[arg-type]
        assert all(one != other for one, other in zip(words, words[1:], strict=False))


def test_the_v2_sentence_can_be_parsed_back() -> None:
    rng = random.Random(0)

    for _ in range(2000):
        seen = drawn_attributes(rng)
        assert parse_style(style_sentence(seen, "v2")) == seen


def test_v1_keeps_its_word_limit_at_the_longest_values() -> None:
    longest = {name: " ".join(["word"] * each.max_words) for name, each in ATTRIBUTES.items()}

    sentence = style_sentence(StyleAttributes(**longest), "v1")

    assert len(sentence.split()) <= V1_WORDS
    assert "lighting" in sentence


def test_attribute_keys_leave_out_none() -> None:
    seen = StyleAttributes(colors="teal", medium="ink")

    assert attribute_keys(seen) == {"style_colors": "teal", "style_medium": "ink"}


def test_no_color_is_nearer_than_the_one_named() -> None:
    def distance(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
        chroma, its_chroma = math.hypot(*one[1:]), math.hypot(*other[1:])
        strength = math.sqrt(chroma * its_chroma)
        hue = (one[1] - other[1]) ** 2 + (one[2] - other[2]) ** 2 - (chroma - its_chroma) ** 2
        return (
            (one[0] - other[0]) ** 2
            + (chroma - its_chroma) ** 2 / (1 + 0.045 * strength) ** 2
            + hue / (1 + 0.015 * strength) ** 2
        )

    rng = random.Random(3)
    for _ in range(300):
        lab = rng.uniform(0, 100), rng.uniform(-110, 110), rng.uniform(-110, 110)
        nearest = distance(lab, COLORS[nearest_color(lab)])
        assert nearest <= min(distance(lab, other) for other in COLORS.values()) + 1e-9


def test_every_color_is_nearest_to_itself() -> None:
    for name, (lightness, a, b) in COLORS.items():
        assert nearest_color((lightness, a, b)) == name


@pytest.mark.parametrize(
    ("lab", "name"),
    [
        ((53, 80, 67), "red"),
        ((97, 0, 0), "white"),
        ((15, 1, 0), "charcoal"),
        ((30, 1, -1), "charcoal"),
    ],
)
def test_colors_get_their_common_names(lab: tuple[float, float, float], name: str) -> None:
    assert nearest_color(lab) == name
