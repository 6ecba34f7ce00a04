"""Histograms of color, edges and strokes, against counts by hand."""

import numpy as np
import pytest
from PIL import Image

from megastyle_cli.models.builtin import histograms
from megastyle_cli.models.builtin.histograms import Lightness
from megastyle_cli.models.builtin.working_image import srgb_to_lab
from tests.conftest import draw


@pytest.mark.parametrize(
    ("size", "shape"), [((1, 1), (128, 128)), ((256, 128), (64, 128)), ((9, 900), (128, 16))]
)
def test_sides_of_a_thumbnail_are_multiples_of_4_of_at_most_128(size, shape):
    lab = histograms.lab_thumbnail(Image.new("RGB", size, "white"))

    assert lab.shape == (*shape, 3) and np.allclose(lab[..., 0], 100, atol=1e-3)


def test_mirrored_and_turned_pictures_keep_their_texture_and_strokes():
    lightness = histograms.lab_thumbnail(draw(3, 128, 128))[..., 0]

    for turned in (lightness[:, ::-1], lightness[::-1], lightness.T):
        for count in (
            histograms.stroke_widths,
            histograms.edge_strengths,
            lambda v: histograms.texture(v, radius_px=2),
        ):
            assert np.array_equal(count(Lightness(lightness)), count(Lightness(turned)))


@pytest.mark.parametrize("radius_px", [1, 2, 4])
def test_texture_counts_contiguous_neighbors_of_each_pixel(radius_px):
    lightness = np.random.default_rng(5).normal(50, 3, (24, 20)).astype(np.float32)
    around = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))

    def pattern(ring):
        changes = sum(a != b for a, b in zip(ring, ring[1:] + ring[:1], strict=True))
        return sum(ring) if changes <= 2 else 9

    expected = np.zeros(100)
    for y in range(radius_px, 24 - radius_px):
        for x in range(radius_px, 20 - radius_px):
            middle = lightness[y, x]
            ring = [lightness[y + radius_px * dy, x + radius_px * dx] for dy, dx in around]
            brighter = pattern([bool(n > middle + histograms.FLAT) for n in ring])
            darker = pattern([bool(n < middle - histograms.FLAT) for n in ring])
            expected[10 * brighter + darker] += 1
    expected[0] = 0
    assert np.count_nonzero(expected) > 10
    assert np.array_equal(histograms.texture(Lightness(lightness), radius_px), expected)


def test_stroke_widths_count_runs_by_hand():
    lightness = np.full((16, 16), 99.0, np.float32)
    lightness[:, 4:8] = 1.0  # a dark bar, 4 px wide and as high as the picture

    widths = histograms.stroke_widths(Lightness(lightness)).reshape(
        histograms.RUN_SHADES, histograms.RUN_STEPS
    )

    found = {(int(shade), int(step)): widths[shade, step] for shade, step in np.argwhere(widths)}
    light = histograms.RUN_SHADES - 1
    # rows: 4 light, 4 dark, 8 light; the columns are one run each and count as ground
    assert found == {(0, 6): 16, (light, 6): 16, (light, 9): 16}


def test_diagonal_stroke_widths_count_runs_of_the_diagonals_that_end_inside():
    lightness = np.full((16, 16), 100.0, np.float32)
    lightness[6:9, 7:10] = 0  # its diagonals: of 3, twice 2 and twice 1 pixels, each way

    widths = histograms.diagonal_stroke_widths(Lightness(lightness)).reshape(
        histograms.RUN_SHADES, -1
    )

    black = {int(3 * np.log2(n * np.sqrt(2))): count for n, count in ((1, 4), (2, 4), (3, 2))}
    assert {i: int(c) for i, c in enumerate(widths[0]) if c} == black
    assert widths[-1].sum() == 2 * 2 * 5  # white on both sides of the black, and no whole diagonal


def test_colors_are_counted_in_all_pixels_and_in_those_on_edges():
    lab = srgb_to_lab(np.asarray(draw(1)))
    is_edge = np.zeros(lab.shape[:2], bool)
    is_edge[:5, :7] = True

    whole, at_edges = histograms.colors_and_edge_colors(lab, is_edge)

    assert np.array_equal(whole, histograms.colors(lab))
    assert np.array_equal(at_edges, histograms.colors(lab[:5, :7]))
    assert at_edges.reshape(3, -1).sum(axis=1).tolist() == [35, 35, 35]


def test_coherence_is_high_along_lines_and_low_in_grain():
    lines = np.full((32, 32), 20.0, np.float32)
    lines[:, ::8] = lines[:, 1::8] = 90.0
    grain = np.random.default_rng(2).normal(50, 20, (32, 32)).astype(np.float32)

    along, across = (
        histograms.edge_coherence(Lightness(each)).reshape(8, 8).sum(axis=0)
        for each in (lines, grain)
    )

    assert along[-1] == along.sum() > 0  # every edge of the lines has one direction
    assert across[:4].sum() > across[4:].sum()


def test_levels_are_the_means_of_blocks_with_central_differences():
    values = np.arange(64, dtype=np.float32).reshape(8, 8) ** 2

    half = Lightness(values).half

    assert half.values[1, 2] == values[2:4, 4:6].mean()
    gx, gy = half.gradient
    assert gx[1, 2] == (half.values[1, 3] - half.values[1, 1]) / 2
    assert gy[1, 2] == (half.values[2, 2] - half.values[0, 2]) / 2
    assert half.slope[1, 2] == pytest.approx(np.hypot(gx[1, 2], gy[1, 2]))
    assert not gx[:, 0].any() and not gy[-1].any()
