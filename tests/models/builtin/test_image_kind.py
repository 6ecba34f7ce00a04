"""The kind of drawn images, and the logistic model between painting and photograph."""

import pytest
from PIL import Image, ImageDraw

from megastyle_cli.models.builtin.image_kind import estimate_kind, painted_probability
from megastyle_cli.models.builtin.working_image import make_working_image
from tests.models.builtin.drawings import cartoon, from_values, noisy


def silhouette() -> Image.Image:
    picture = Image.new("RGB", (200, 200), "white")
    ImageDraw.Draw(picture).ellipse((40, 40, 160, 160), fill="navy")
    return picture


def line_drawing() -> Image.Image:
    picture = Image.new("RGB", (200, 200), "white")
    ImageDraw.Draw(picture).ellipse((40, 40, 160, 160), outline="black", width=4)
    return picture


def flat_graphic() -> Image.Image:
    picture = silhouette()
    ImageDraw.Draw(picture).rectangle((80, 80, 120, 120), fill="orange")
    ImageDraw.Draw(picture).rectangle((20, 150, 180, 190), fill="green")
    return picture


@pytest.mark.parametrize(
    ("picture", "kind"),
    [
        (Image.new("RGB", (64, 64), "teal"), "blank"),
        (silhouette(), "silhouette"),
        (line_drawing(), "line"),
        (flat_graphic(), "flat"),
        (cartoon(), "flat"),
    ],
)
def test_graphics_are_told_apart(picture: Image.Image, kind: str) -> None:
    assert estimate_kind(make_working_image(picture)).kind == kind


def test_a_cartoon_is_carried_by_its_outline_and_a_silhouette_is_not() -> None:
    assert estimate_kind(make_working_image(cartoon())).outline is not None
    assert estimate_kind(make_working_image(silhouette())).outline is None


@pytest.mark.parametrize("seed", range(3))
def test_a_continuous_tone_is_named_only_when_it_is_certain(seed: int) -> None:
    found = estimate_kind(make_working_image(from_values(noisy(seed=seed))))

    assert found.kind in ("painted", "photograph", "unclear")
    assert found.confidence == max(found.painted, 1 - found.painted)
    assert (found.kind == "unclear") == (found.confidence < 0.8)


def test_the_probability_of_a_painting_rises_with_colors_and_yellowness() -> None:
    base = painted_probability((0, 0, 0, 0, 0))

    assert painted_probability((1, 0, 0, 0, 0)) > base
    assert painted_probability((0, 0, 0, 1, 0)) > base
    assert painted_probability((0, 1, 0, 0, 0)) < base
    assert 0 < base < 1
