"""The working copy: its size, its gradient, its background, and means over blocks."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from megastyle_cli.models.builtin.working_image import (
    block_means,
    make_working_image,
    rgb_5_bit,
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
