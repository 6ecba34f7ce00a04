"""Magenta's networks, opened for any size: the stored network's output, and no seams."""

import numpy as np
import onnxruntime
from PIL import Image

from megastyle_cli.models.builtin.magenta import PACKAGE, style_vector, stylize
from megastyle_cli.models.builtin.packaged_weights import packaged_file
from tests.models.builtin.test_magenta_painter import REDS, pixels, scene


def test_opened_network_agrees_with_the_stored_one():
    content = scene(384, 384).resize((256, 256))
    vector = style_vector(REDS)
    session = onnxruntime.InferenceSession(
        packaged_file(PACKAGE, "weights/magenta/arbitrary_transform.onnx")
    )
    image, style = (given.name for given in session.get_inputs())

    # Mirrored to the stored network's one size, so that the statistics of the picture are the same.
    mirrored = np.pad(pixels(content) / 255, [(0, 128), (0, 128), (0, 0)], mode="symmetric")
    stored = session.run(None, {image: mirrored[None], style: vector.reshape(1, 1, 1, 100)})[0][0]
    opened = pixels(stylize(content, vector)) / 255

    inside = np.s_[:192, :192]
    assert np.corrcoef(stored[:256, :256][inside].ravel(), opened[inside].ravel())[0, 1] > 0.9


def test_a_large_picture_has_no_seams():
    # Content that repeats every 64 px is painted the same every 64 px, away from its ends: a tile
    # border, or statistics taken tile by tile, would break the repetition.
    blocks = np.random.default_rng(3).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    blocks[:, 4:] = np.tile(blocks[:, :4], (1, 2, 1))
    smooth = Image.fromarray(blocks).resize((192, 128), Image.Resampling.BICUBIC)
    content = Image.fromarray(np.tile(np.asarray(smooth)[:, 64:128], (1, 16, 1)))

    painting = pixels(stylize(content, style_vector(REDS)))

    middle = painting[:, 320:640]
    assert painting.shape == (128, 1024, 3)
    assert middle.std() > 20
    assert np.abs(middle - painting[:, 384:704]).max() <= 1
