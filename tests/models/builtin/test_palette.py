"""The named colors of an image: shares, dominant colors and accents."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from megastyle_cli.core.style import ATTRIBUTES, COLORS
from megastyle_cli.models.builtin.palette import Swatch, describe_tone, name_palette, swatches
from megastyle_cli.models.builtin.working_image import make_working_image
from tests.models.builtin.drawings import describe, from_values, noisy


def swatch(name: str, share: float) -> Swatch:
    return Swatch(name=name, lab=np.array(COLORS[name], np.float32), share=share)


def test_a_red_image_is_named_red() -> None:
    assert describe(Image.new("RGB", (80, 80), (224, 20, 28))).colors == "red"


def test_small_strong_colors_are_accents() -> None:
    picture = Image.new("RGB", (200, 200), (18, 32, 79))
    ImageDraw.Draw(picture).rectangle((80, 80, 120, 120), fill=(255, 127, 14))

    seen = describe(picture)

    assert (seen.colors, seen.accents) == ("navy", "orange")


@pytest.mark.parametrize("seed", range(4))
def test_shares_sum_to_one_in_descending_order_and_no_name_comes_twice(seed: int) -> None:
    found = swatches(make_working_image(from_values(noisy(seed=seed))))

    shares = [each.share for each in found]
    assert sum(shares) == pytest.approx(1, abs=1e-5) and shares == sorted(shares, reverse=True)
    assert len({each.name for each in found}) == len(found)


def test_the_shares_of_flat_areas_are_their_areas() -> None:
    picture = Image.new("RGB", (100, 100), "white")
    ImageDraw.Draw(picture).rectangle((0, 0, 99, 24), fill=(18, 32, 79))

    found = swatches(make_working_image(picture))

    assert [(each.name, each.share) for each in found] == [
        ("white", pytest.approx(0.75)),
        ("navy", pytest.approx(0.25)),
    ]


def test_a_tiny_color_is_no_accent() -> None:
    colors = [swatch("navy", 0.995), swatch("orange", 0.005)]

    assert name_palette(colors) == ("navy", None)


def test_two_long_names_are_shortened_to_the_word_limit() -> None:
    long = [name for name in COLORS if len(name.split()) == 2][:2]

    colors, _ = name_palette([swatch(long[0], 0.6), swatch(long[1], 0.4)])

    assert colors.startswith(long[0]) and len(colors.split()) <= ATTRIBUTES["colors"].max_words


@pytest.mark.parametrize(
    ("color", "tone"),
    [
        ((128, 128, 128), "monochrome"),
        ((30, 10, 40), "dark"),
        ((150, 60, 60), "red-toned"),
        ((90, 60, 30), "dark"),
        ((130, 95, 50), "brown-toned"),
        ((60, 110, 180), "blue-toned"),
    ],
)
def test_the_tone_of_one_color(color: tuple[int, int, int], tone: str) -> None:
    assert describe_tone(make_working_image(Image.new("RGB", (40, 40), color))) == tone


def test_a_gray_image_is_monochrome() -> None:
    gray = Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64))

    identity = describe(gray).identity

    assert identity is not None and identity.startswith("monochrome")
