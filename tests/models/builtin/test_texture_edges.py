"""Edges, outlines and strokes of drawn images; window filters against brute force."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from megastyle_cli.models.builtin.texture import (
    edge_width,
    measure_outline,
    measure_strokes,
    window,
)
from megastyle_cli.models.builtin.working_image import make_working_image
from tests.models.builtin.drawings import cartoon, describe, strokes


@pytest.mark.parametrize("reach", [1, 2, 5])
@pytest.mark.parametrize(("pick", "reduce"), [(np.maximum, np.max), (np.minimum, np.min)])
def test_a_window_is_the_extreme_of_each_square(reach, pick, reduce) -> None:
    values = np.random.default_rng(0).integers(0, 256, (9, 14)).astype(np.uint8)

    found = window(values, reach, pick)

    padded = np.pad(values, reach, mode="edge")
    size = 2 * reach + 1
    expected = [[reduce(padded[i : i + size, j : j + size]) for j in range(14)] for i in range(9)]
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("seed", range(4))
def test_edges_are_measured_where_the_gradient_is_in_its_last_fiftieth(seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    picture = Image.fromarray(noise).resize((128, 96), Image.Resampling.BICUBIC)
    image = make_working_image(picture)

    bound = np.sort(image.gradient.ravel())[int(image.gradient.size * 0.98)]
    steepest = image.gradient >= bound
    padded = np.pad(np.rint(image.lightness * 2.55), 6, mode="edge")
    squares = np.lib.stride_tricks.sliding_window_view(padded, (13, 13))
    span = squares.max(axis=(2, 3)) - squares.min(axis=(2, 3))
    expected = np.median(span[steepest] / image.gradient[steepest]) / 2.55
    assert edge_width(image) == pytest.approx(expected, rel=1e-5)


def test_blurred_edges_are_soft_and_drawn_ones_sharp() -> None:
    assert describe(cartoon()).edges == "sharp"
    assert describe(cartoon().filter(ImageFilter.GaussianBlur(4))).edges == "soft"
    assert describe(Image.new("RGB", (64, 64), "teal")).edges is None


def test_black_outlines_of_a_cartoon_are_found() -> None:
    outline = describe(cartoon()).outline

    assert outline is not None and "black outlines" in outline


def test_the_same_shapes_without_lines_have_no_outline() -> None:
    picture = Image.new("RGB", (240, 240), (250, 235, 190))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((20, 20, 120, 120), fill=(220, 60, 40))
    draw.rectangle((130, 60, 220, 200), fill=(60, 120, 200))

    assert describe(picture).outline is None


@pytest.mark.parametrize("width_px", [4, 8, 12])
def test_the_width_of_an_outline_is_that_of_its_line(width_px: int) -> None:
    picture = Image.new("RGB", (200, 200), "white")
    ImageDraw.Draw(picture).line((100, 0, 100, 199), fill="black", width=width_px)

    outline = measure_outline(make_working_image(picture), reach=8)

    assert outline is not None
    assert 200 * outline.width == pytest.approx(width_px, rel=0.1)
    assert outline.area == pytest.approx(width_px / 200, rel=0.05)


def test_an_image_without_dark_lines_has_no_outline() -> None:
    assert measure_outline(make_working_image(Image.new("RGB", (64, 64), "teal")), 5) is None


@pytest.mark.parametrize(("is_horizontal", "angle"), [(True, 0.0), (False, np.pi / 2)])
def test_strokes_have_their_direction(is_horizontal: bool, angle: float) -> None:
    picture = strokes(is_horizontal)

    found = measure_strokes(make_working_image(picture))

    apart = abs(found.angle - angle)
    assert min(apart, np.pi - apart) < 0.2 and found.share > 0.6
    brushwork = describe(picture).brushwork
    assert brushwork is not None and ("horizontal" if is_horizontal else "vertical") in brushwork
