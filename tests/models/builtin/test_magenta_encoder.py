"""The painter's style vector as an encoder: unit rows that follow the style, not the content."""

import numpy as np

from megastyle_cli.models.builtin.magenta import style_vector, stylize
from megastyle_cli.models.builtin.magenta_encoder import WIDTH, MagentaEncoder
from tests.conftest import draw


def test_rows_are_unit_vectors_that_depend_on_the_image_alone():
    images = [draw(number, 64, 64) for number in range(3)]

    rows = MagentaEncoder().embed(images)

    assert rows.shape == (3, WIDTH) and rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert (rows[1] == MagentaEncoder().embed(images[1:2])[0]).all()
    assert MagentaEncoder().embed([]).shape == (0, WIDTH)


def test_two_contents_painted_in_one_style_are_nearer_than_one_content_in_two_styles():
    styles = [style_vector(draw(number, 128, 128)) for number in (1, 2)]
    content, other = draw(3, 128, 128), draw(4, 128, 128)

    painted, same_style, same_content = MagentaEncoder().embed(
        [stylize(content, styles[0]), stylize(other, styles[0]), stylize(content, styles[1])]
    )

    assert painted @ same_style > painted @ same_content
