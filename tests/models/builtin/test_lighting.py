"""The light of an image: direction, level, contrast, and its absence on uniform areas."""

import numpy as np
import pytest

from megastyle_cli.models.builtin.lighting import describe_light, is_unshaded
from megastyle_cli.models.builtin.working_image import make_working_image
from tests.models.builtin.drawings import cartoon, from_values, lit_from_the_left, noisy


@pytest.mark.parametrize(
    ("turn", "words"),
    [(0, "left-to-right"), (90, "bottom-up"), (180, "right-to-left"), (270, "top-down")],
)
def test_the_direction_of_light_is_named(turn: int, words: str) -> None:
    picture = lit_from_the_left().rotate(turn, expand=True)

    assert words in describe_light(make_working_image(picture))


def test_uniform_areas_are_not_lit() -> None:
    image = make_working_image(cartoon())

    assert is_unshaded(image) and describe_light(image) == "flat unshaded"


@pytest.mark.parametrize(
    ("offset", "level"), [(-110, "very dim"), (0, "mid-toned"), (90, "very bright")]
)
def test_the_level_follows_the_mean_lightness(offset: float, level: str) -> None:
    light = describe_light(make_working_image(from_values(noisy() * 0.2 + 100 + offset)))

    assert light.startswith(level)


@pytest.mark.parametrize(("amplitude", "words"), [(80, "center-weighted"), (-80, "dark-centered")])
def test_a_bright_or_dark_center_is_named(amplitude: float, words: str) -> None:
    y, x = np.mgrid[-1:1:160j, -1:1:160j]
    bump = amplitude * np.exp(-3 * (x**2 + y**2))[..., None]

    light = describe_light(make_working_image(from_values(noisy(160, 160) * 0.1 + 115 + bump)))

    assert words in light
