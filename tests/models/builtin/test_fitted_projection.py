"""A fitted projection: unit vectors, and a digest of the weights that were shipped."""

import numpy as np
import pytest
from safetensors.numpy import load

from megastyle_cli.models.builtin import fitted_projection
from megastyle_cli.models.builtin.fitted_projection import FittedProjection, fitted_styles

NAMES = ["style_whitening.safetensors", "style_discriminants.safetensors"]


@pytest.mark.parametrize("name", NAMES)
def test_a_vector_is_the_product_with_the_projection_at_length_1(name):
    weights = load((fitted_projection._WEIGHTS / name).read_bytes())
    middle, projection = weights["middle"], weights["projection"].astype(np.float64)
    descriptor = np.random.default_rng(0).random(len(middle)).astype(np.float32)

    vector = FittedProjection(name).unit_vector(descriptor)

    expected = (descriptor - middle.astype(np.float64)) @ projection
    assert vector.dtype == np.float32 and vector.shape == (256,)
    assert vector == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_axes_are_finite_and_none_is_another(name):
    weights = load((fitted_projection._WEIGHTS / name).read_bytes())
    axes = weights["projection"].astype(np.float64)

    assert np.isfinite(axes).all()
    assert np.linalg.matrix_rank(axes) == axes.shape[1]


def test_styles_of_the_fits_are_listed_without_repetition():
    icons, paintings = fitted_styles()["icons"], fitted_styles()["paintings"]

    assert len(set(icons)) == len(icons) == 60
    assert len(set(paintings)) == len(paintings) == 14
    reserved = ("fluent-emoji", "icon-park", "dinkie", "memory", "glyphs", "marketeq")
    reserved += ("foundation", "zondicons", "gartoon", "yaru", "numix")
    assert not [name for name in icons if any(word in name for word in reserved)]
