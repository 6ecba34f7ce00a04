"""Pictures changed for a tier: luminance only, or with equal mean and spread of colors (ours)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

MEAN = (160.0, 128.0, 128.0)  # of luma, blue and red difference, in 0..255
SPREAD = (60.0, 20.0, 20.0)
FLAT = 1.0  # a channel of less spread is noise, which stays as it is


def grey(image: "Image") -> "Image":
    """The luma of an RGB image in all three channels."""
    return image.convert("L").convert("RGB")


def color_matched(image: "Image") -> "Image":
    """An RGB image whose luma and color differences have the same mean and spread as any other's.

    It also changes the contrast of lines, so that results are read beside those of other tiers.
    """
    from PIL import Image

    channels = np.asarray(image.convert("YCbCr"), np.float64)
    mean, spread = channels.mean(axis=(0, 1)), channels.std(axis=(0, 1))
    scale = np.where(spread < FLAT, 1.0, np.array(SPREAD) / np.maximum(spread, FLAT))
    matched = np.clip((channels - mean) * scale + np.array(MEAN), 0, 255).round().astype(np.uint8)
    return Image.fromarray(matched, "YCbCr").convert("RGB")


BY_TIER: dict[str, Callable[["Image"], "Image"]] = {"grey": grey, "color-matched": color_matched}
