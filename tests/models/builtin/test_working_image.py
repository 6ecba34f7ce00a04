"""The working copy: its colours, its gradient, its background, and means over blocks."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from megastyle_cli.models.builtin.working_image import (
    block_means,
    make_working_image,
    rgb_5_bit,
    share,
    srgb_to_lab,
    srgb_to_lab_by_table,
)
from tests.models.builtin.drawings import from_values, noisy


@pytest.mark.parametrize(
    ("size", "shape"),
    [((1, 1), (16, 16)), ((100, 50), (50, 100)), ((1024, 512), (128, 256)), ((2000, 3), (16, 256))],
)
def test_sides_stay_within_their_limits(size: tuple[int, int], shape: tuple[int, int]) -> None:
    image = make_working_image(Image.new("RGB", size, "teal"))

    assert image.lightness.shape == image.gradient.shape == image.foreground.shape == shape
    assert image.rgb.shape == image.lab.shape == (*shape, 3)


def test_the_gradient_of_a_ramp_is_its_slope() -> None:
    ramp = make_working_image(from_values(np.tile(np.arange(64.0) * 3, (64, 1))))

    inside = ramp.lightness[:, 1:-1]
    expected = (ramp.lightness[:, 2:] - ramp.lightness[:, :-2]) / 2
    assert np.allclose(ramp.gradient_x[:, 1:-1], expected) and inside.size
    assert not ramp.gradient_y.any() and np.allclose(ramp.gradient, np.abs(ramp.gradient_x))


def test_a_uniform_border_is_background_and_a_mixed_one_is_not() -> None:
    picture = Image.new("RGB", (100, 100), "white")
    ImageDraw.Draw(picture).rectangle((30, 30, 69, 69), fill="navy")

    assert make_working_image(picture).foreground.sum() == 40 * 40
    assert make_working_image(from_values(noisy())).foreground.all()


@pytest.mark.parametrize("background", ["white", None])
def test_values_inside_are_those_of_the_foreground_row_by_row(background: str | None) -> None:
    picture = from_values(noisy())
    if background:
        picture = Image.new("RGB", (100, 100), background)
        ImageDraw.Draw(picture).ellipse((30, 20, 69, 79), fill="navy")
    image = make_working_image(picture)

    inside = image.inside(image.lightness)

    assert np.array_equal(inside, image.lightness[image.foreground])
    assert (inside.size < image.lightness.size) == bool(background)


def test_a_share_is_the_mean_of_a_mask() -> None:
    mask = np.random.default_rng(0).random((7, 11)) < 0.3

    assert share(mask) == mask.mean() and type(share(mask)) is float


def test_colors_of_a_picture_of_any_size_are_converted_alike() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (150, 256, 3)).astype(np.uint8)

    lab = srgb_to_lab_by_table(rgb)

    assert np.allclose(lab[::50], srgb_to_lab_by_table(rgb[::50]), atol=0.02)
    assert np.allclose(lab, srgb_to_lab(rgb), atol=0.25)


def test_block_means_are_those_of_whole_blocks() -> None:
    values = np.random.default_rng(0).random((13, 10)).astype(np.float32)

    means = block_means(values, 4)

    assert means.shape == (3, 2)
    expected = [
        [values[4 * i : 4 * i + 4, 4 * j : 4 * j + 4].mean() for j in (0, 1)] for i in range(3)
    ]
    assert np.allclose(means, expected)


def test_a_code_of_5_bits_keeps_the_upper_bits_of_each_channel() -> None:
    rgb = np.array([[[255, 0, 8], [7, 7, 7]]], np.uint8)

    assert rgb_5_bit(rgb).tolist() == [[(31 << 10) + 1, 0]]


# sRGB under D65, as printed in color references
KNOWN = {
    (255, 255, 255): (100, 0, 0),
    (0, 0, 0): (0, 0, 0),
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.73, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
}


def by_the_standard(rgb):
    """CIELAB of one color in float64, step by step."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.divide(rgb, 255)
    ]
    matrix = [
        (0.4124564, 0.3575761, 0.1804375),
        (0.2126729, 0.7151522, 0.0721750),
        (0.0193339, 0.1191920, 0.9503041),
    ]
    ratios = [
        sum(m * c for m, c in zip(row, linear, strict=True)) / white
        for row, white in zip(matrix, (0.95047, 1.0, 1.08883), strict=True)
    ]
    x, y, z = (
        t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29 for t in ratios
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize(("convert", "error"), [(srgb_to_lab, 0.01), (srgb_to_lab_by_table, 0.25)])
def test_lab_is_that_of_the_standard(convert, error):
    rgb = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)

    lab = convert(rgb)

    expected = [by_the_standard(color) for color in rgb.reshape(-1, 3)]
    assert lab.dtype == np.float32 and lab.shape == rgb.shape
    assert np.abs(lab.reshape(-1, 3) - expected).max() < error


@pytest.mark.parametrize("convert", [srgb_to_lab, srgb_to_lab_by_table])
def test_lab_of_known_colors(convert):
    lab = convert(np.array([*KNOWN], np.uint8)[None])[0]

    assert lab == pytest.approx(np.array([*KNOWN.values()]), abs=0.2)


def test_grays_have_no_chroma():
    grays = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)

    assert np.abs(srgb_to_lab(grays)[:, 1:]).max() < 1e-3
    assert np.all(np.diff(srgb_to_lab(grays)[:, 0]) > 0)
