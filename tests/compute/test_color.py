"""CIELAB of sRGB bytes: known values, the standard's formula, and the table's accuracy."""

import numpy as np
import pytest

from megastyle_cli.compute.color import srgb_to_lab, srgb_to_lab_by_table

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
