"""Baselines: unit rows, equal for equal images, independent of the batch."""

import numpy as np
import pytest

from megastyle_cli.models.builtin.baselines import ColorHistogram, RandomEncoder
from tests.conftest import draw


@pytest.mark.parametrize("encoder", [RandomEncoder(), ColorHistogram()])
def test_rows_are_unit_vectors_that_depend_on_the_image_alone(encoder):
    images = [draw(number, 32, 32) for number in range(4)]

    rows = encoder.embed([*images, images[0]])

    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert (rows[0] == rows[4]).all()
    assert (rows[1] == encoder.embed(images[1:2])[0]).all()


def test_random_vectors_of_different_images_are_unrelated():
    rows = RandomEncoder().embed([draw(number, 16, 16) for number in range(60)])

    cosines = (rows @ rows.T)[np.triu_indices(60, 1)]
    assert abs(cosines.mean()) < 0.02 and 0.09 < cosines.std() < 0.16  # 1 / sqrt(64) = 0.125


def test_a_color_histogram_ignores_where_the_colors_are():
    image, other = draw(1, 64, 64), draw(2, 64, 64)

    same, mirrored, different = ColorHistogram().embed([image, image.rotate(180), other])

    assert same @ mirrored > 0.999 > same @ different
