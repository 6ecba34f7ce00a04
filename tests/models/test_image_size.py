"""Sizes of images: rounding, scaling, and how many make a batch."""

import pytest

from megastyle_cli.models.image_size import images_per_batch, round_up, scale_long_side


@pytest.mark.parametrize(
    ("size", "expected"), [((1, 17), (16, 32)), ((16, 32), (16, 32)), ((0, 33), (0, 48))]
)
def test_sides_are_rounded_up_to_the_multiple(size, expected):
    assert round_up(size, 16) == expected


@pytest.mark.parametrize(
    ("size", "expected"), [((64, 32), (96, 48)), ((32, 64), (48, 96)), ((1000, 1), (96, 1))]
)
def test_the_longer_side_is_scaled_and_no_side_vanishes(size, expected):
    assert scale_long_side(size, 96) == expected


@pytest.mark.parametrize(
    ("size", "expected"), [((512, 512), 4), ((1024, 1024), 1), ((1025, 1024), 1), ((768, 512), 2)]
)
def test_a_batch_is_a_megapixel_or_one_image(size, expected):
    assert images_per_batch(size) == expected
