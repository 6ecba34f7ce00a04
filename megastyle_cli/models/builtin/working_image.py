"""The small copy of an image that every measure of the captioner reads: CIELAB and its gradient.

h, w: height and width of the copy in pixels. Lightness L is in [0, 100]; a and b are CIELAB (D65),
roughly in [-110, 110]; gradients are in units of L per pixel of the copy.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from megastyle_cli.compute.color import Array, Bytes, srgb_to_lab_by_table

Mask = np.ndarray[Any, np.dtype[np.bool_]]

LONG_SIDE_PX = 256
# Narrower images are widened to this, so that every measure has neighboring pixels.
SHORT_SIDE_PX = 16


@dataclass(frozen=True, kw_only=True)
class WorkingImage:
    """A small copy: `rgb` (h, w, 3) uint8, `lab` (h, w, 3), and what is derived from them once.

    `gradient_x` and `gradient_y` (h, w) are the slopes of L to the right and downwards, `gradient`
    their magnitude; `foreground` (h, w) is False on a uniform background, True elsewhere.
    """

    rgb: Bytes
    lab: Array
    gradient_x: Array
    gradient_y: Array
    gradient: Array
    foreground: Mask

    @property
    def lightness(self) -> Array:
        """L, (h, w)."""
        return self.lab[..., 0]


def make_working_image(picture: Image.Image) -> WorkingImage:
    """`picture` with a long side of at most 256 px and a short side of at least 16 px."""
    scale = min(1.0, LONG_SIDE_PX / max(picture.size))
    width, height = (max(SHORT_SIDE_PX, round(side * scale)) for side in picture.size)
    small = picture.convert("RGB").resize(
        (width, height), Image.Resampling.HAMMING, reducing_gap=2.0
    )
    rgb = np.asarray(small)
    lab = srgb_to_lab_by_table(rgb)
    gradient_x, gradient_y = _gradients(lab[..., 0])
    return WorkingImage(
        rgb=rgb,
        lab=lab,
        gradient_x=gradient_x,
        gradient_y=gradient_y,
        gradient=np.sqrt(gradient_x * gradient_x + gradient_y * gradient_y),
        foreground=~_uniform_background(lab),
    )


def rgb_5_bit(rgb: Bytes) -> np.ndarray[Any, np.dtype[np.int32]]:
    """The code in [0, 32768) of each color (h, w) at 5 bits per channel."""
    top = (rgb >> 3).astype(np.int32)
    return (top[..., 0] << 10) | (top[..., 1] << 5) | top[..., 2]


def block_means(values: Array, side: int) -> Array:
    """The mean of every whole square of `side` x `side` values: (h // side, w // side)."""
    height, width = (length // side for length in values.shape)
    cut = values[: height * side, : width * side]
    rows = cut.reshape(height, side, width * side).sum(axis=1)
    # column by column: numpy takes ten times as long for a sum over a short last axis
    total = rows[:, ::side].copy()
    for column in range(1, side):
        total += rows[:, column::side]
    means: Array = total / np.float32(side * side)
    return means


def _gradients(lightness: Array) -> tuple[Array, Array]:
    """Central differences along x and y, (h, w) each, one-sided at the border."""
    padded = np.pad(lightness, 1, mode="edge")
    gradient_x = (padded[1:-1, 2:] - padded[1:-1, :-2]) * np.float32(0.5)
    gradient_y = (padded[2:, 1:-1] - padded[:-2, 1:-1]) * np.float32(0.5)
    return gradient_x, gradient_y


def _uniform_background(lab: Array) -> Mask:
    """Where the color of a uniform border occurs; nowhere if the border is mixed."""
    border = np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
    background = np.median(border, axis=0)
    near_border = ((border - background) ** 2).sum(axis=1) < 9
    if near_border.mean() < 0.8:
        return np.zeros(lab.shape[:2], dtype=bool)
    return np.asarray(((lab - background) ** 2).sum(axis=2) < 9)
