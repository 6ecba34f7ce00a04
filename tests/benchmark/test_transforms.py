"""Pictures changed for a tier."""

import numpy as np
from PIL import Image

from megastyle_cli.benchmark.transforms import MEAN, SPREAD, color_matched, grey
from tests.conftest import draw


def test_grey_has_equal_channels_and_the_luma_of_the_image():
    image = draw(1, 32, 32)

    channels = np.asarray(grey(image))

    assert (channels == np.asarray(image.convert("L"))[..., None]).all()


def test_matched_images_have_equal_mean_and_spread_of_luma_and_color():
    noise = np.random.default_rng(1).normal(size=(64, 64, 3))
    for mean, spread in ((90, 8), (140, 20)):
        image = Image.fromarray((mean + spread * noise).clip(0, 255).astype(np.uint8))

        channels = np.asarray(color_matched(image).convert("YCbCr"), float)

        # colors beyond sRGB are clipped
        assert np.allclose(channels.mean(axis=(0, 1)), MEAN, atol=5)
        assert np.allclose(channels.std(axis=(0, 1)), SPREAD, atol=5)


def test_an_image_without_colors_stays_without():
    image = draw(1, 32, 32).convert("L").convert("RGB")

    channels = np.asarray(color_matched(image), int)

    assert np.abs(channels - channels[..., :1]).max() <= 1
