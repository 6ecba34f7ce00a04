"""Surface and repeating patterns of drawn images."""

import numpy as np
import pytest

from megastyle_cli.models.builtin.texture import (
    Roughness,
    autocorrelation,
    describe_pattern,
    describe_surface,
    measure_roughness,
    window,
)
from megastyle_cli.models.builtin.working_image import make_working_image
from tests.models.builtin.drawings import (
    cartoon,
    checkerboard,
    describe,
    from_values,
    noisy,
    stripes,
)


def test_a_repetition_is_a_pattern() -> None:
    assert describe(checkerboard()).pattern == "checkered grid"
    assert describe(stripes()).pattern == "vertical stripes"
    assert describe(stripes().rotate(90)).pattern == "horizontal stripes"


def test_what_does_not_repeat_has_no_pattern() -> None:
    assert describe_pattern(make_working_image(from_values(noisy()))) is None
    assert describe_pattern(make_working_image(cartoon())) is None


@pytest.mark.parametrize("axis", [0, 1])
def test_autocorrelation_is_the_mean_product_at_each_lag(axis: int) -> None:
    grid = np.random.default_rng(4).normal(0, 1, (20, 31)).astype(np.float32)

    found = autocorrelation(grid, axis)

    lines = np.moveaxis(grid, axis, 0)
    products = [(lines[lag:] * lines[: len(lines) - lag]).mean() for lag in range(len(found))]
    assert len(found) == len(lines) // 2
    assert np.allclose(found, np.divide(products, products[0]), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 3), (20, 17)])
@pytest.mark.parametrize("reach", [0, 1, 6])
def test_a_window_has_the_largest_value_around_a_pixel(shape: tuple[int, int], reach: int) -> None:
    values = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)

    found = window(values, reach, np.maximum)

    assert found.shape == shape and found.dtype == np.uint8
    for y, x in np.ndindex(shape):
        around = values[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        assert found[y, x] == around.max()


def test_grain_is_a_rougher_surface_than_a_smooth_ramp() -> None:
    rng = np.random.default_rng(2)
    ramp = np.tile(np.linspace(60, 190, 200), (200, 1))

    assert describe(from_values(ramp)).surface == "smooth"
    assert describe(from_values(ramp + rng.normal(0, 25, ramp.shape))).surface == (
        "densely fine-grained"
    )


def test_white_noise_is_finer_than_blotches() -> None:
    rng = np.random.default_rng(3)
    fine = rng.normal(128, 40, (128, 128))
    broad = rng.normal(128, 40, (32, 32)).repeat(4, axis=0).repeat(4, axis=1)

    found = [measure_roughness(make_working_image(from_values(v))) for v in (fine, broad)]

    assert found[0].fineness > 0.92 > 0.74 > found[1].fineness
    assert describe_surface(found[0]).endswith("fine-grained")


def test_a_mostly_uniform_image_is_flat_however_rough_the_rest() -> None:
    assert describe_surface(Roughness(flat=0.8, rough=0.9, fineness=1.0)) == "flat"
