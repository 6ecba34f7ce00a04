"""The small copy of an image that every measure of the captioner reads: CIELAB and its gradient.

h, w: height and width of the copy in pixels. Lightness L is in [0, 100]; a and b are CIELAB (D65),
roughly in [-110, 110]; gradients are in units of L per pixel of the copy.

sRGB becomes CIELAB exactly, or by a table of cube roots that is faster and good to about 0.2. Both
stay because stored values depend on their bits: the fitted weights of the style descriptor on the
exact one, the confidences in captions on the table. Source: IEC 61966-2-1 (sRGB), CIE 15 (CIELAB).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, np.dtype[np.float32]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

LONG_SIDE_PX = 256
# Narrower images are widened to this, so that every measure has neighboring pixels.
SHORT_SIDE_PX = 16

_BYTE = np.arange(256) / 255
_LINEAR = np.where(_BYTE <= 0.04045, _BYTE / 12.92, ((_BYTE + 0.055) / 1.055) ** 2.4)
_LINEAR = _LINEAR.astype(np.float32)
_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_D65 = np.array([0.95047, 1.0, 1.08883])
# Two roundings of one matrix: rows divided by their sum put white at exactly (1, 1, 1).
_TO_WHITE_SUM = (_TO_XYZ / _TO_XYZ.sum(axis=1, keepdims=True)).astype(np.float32)
_TO_WHITE_D65 = (_TO_XYZ / _D65[:, None]).astype(np.float32)
_STEPS = 1 << 14
_PART = 1 << 13  # pixels whose intermediate values fit in the second-level cache
_RATIO = np.arange(_STEPS + 1) / _STEPS
_ROOT = np.where(_RATIO > (6 / 29) ** 3, np.cbrt(_RATIO), _RATIO * (29 / 6) ** 2 / 3 + 4 / 29)
_ROOT = _ROOT.astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class WorkingImage:
    """A small copy: `rgb` (h, w, 3) uint8, `lab` (h, w, 3), and what is derived from them once.

    `gradient_x` and `gradient_y` (h, w) are the slopes of L to the right and downwards, `gradient`
    their magnitude; `foreground` (h, w) is False on a uniform background, True elsewhere. The
    channels of `lab` are contiguous.
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

    @cached_property
    def lightness_bytes(self) -> Bytes:
        """L in 0..255, (h, w)."""
        whole: Bytes = np.rint(self.lightness * 2.55).astype(np.uint8)
        return whole

    @cached_property
    def color_counts(self) -> np.ndarray[Any, np.dtype[np.intp]]:
        """How many pixels have each color at 5 bits per channel, (32768,)."""
        return np.bincount(rgb_5_bit(self.rgb).ravel(), minlength=1 << 15)

    @cached_property
    def flat_share(self) -> float:
        """The share of pixels in uniform areas."""
        return share(self.gradient < 0.25)

    @cached_property
    def _has_background(self) -> bool:
        return not self.foreground.all()

    def inside(self, values: Array) -> Array:
        """The values (n,) of (h, w) in the foreground, row by row."""
        return values[self.foreground] if self._has_background else values.ravel()


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


def srgb_to_lab(pixels: Bytes) -> Array:
    """CIELAB (..., 3) float32 of sRGB bytes (..., 3); the same bits on every machine."""
    red, green, blue = (_LINEAR.take(pixels[..., channel]) for channel in range(3))
    # not `linear @ matrix`: BLAS may sum in another order on another number of cores
    x, y, z = (red * row[0] + green * row[1] + blue * row[2] for row in _TO_WHITE_SUM)
    fx, fy, fz = (
        np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116) for t in (x, y, z)
    )
    return np.moveaxis(np.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)]), 0, -1)


def srgb_to_lab_by_table(pixels: Bytes) -> Array:
    """CIELAB (..., 3) float32 of sRGB bytes (..., 3), within about 0.2 of `srgb_to_lab`."""
    flat = pixels.reshape(-1, 3)
    linear = np.empty((3, len(flat)), np.float32)
    parts = [slice(start, start + _PART) for start in range(0, len(flat), _PART)]
    for part in parts:
        _LINEAR.take(flat[part].T, out=linear[:, part], mode="clip")
    ratios = _TO_WHITE_D65 @ linear  # at once: BLAS may round a part in another way
    lab = linear  # its memory
    for part in parts:
        steps = (ratios[:, part] * np.float32(_STEPS)).astype(np.int32)
        x, y, z = _ROOT.take(steps, mode="clip")
        lab[0, part], lab[1, part], lab[2, part] = 116 * y - 16, 500 * (x - y), 200 * (y - z)
    return np.moveaxis(lab.reshape(3, *pixels.shape[:-1]), 0, -1)


def rgb_5_bit(rgb: Bytes) -> np.ndarray[Any, np.dtype[np.int32]]:
    """The code in [0, 32768) of each color (h, w) at 5 bits per channel."""
    red, green, blue = (rgb[..., channel].astype(np.int32) >> 3 for channel in range(3))
    return (red << 10) | (green << 5) | blue


def share(mask: Mask) -> float:
    """The share of values that are True; which `mask.mean()` takes longer to find."""
    return float(np.count_nonzero(mask) / mask.size)


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
    gradient_x, gradient_y = np.empty_like(lightness), np.empty_like(lightness)
    for values, slope in ((lightness, gradient_y), (lightness.T, gradient_x.T)):
        np.subtract(values[2:], values[:-2], out=slope[1:-1])
        np.subtract(values[1], values[0], out=slope[0])
        np.subtract(values[-1], values[-2], out=slope[-1])
        slope *= np.float32(0.5)
    return gradient_x, gradient_y


def _uniform_background(lab: Array) -> Mask:
    """Where the color of a uniform border occurs; nowhere if the border is mixed."""
    border = np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
    background = np.median(border, axis=0)
    near_border = ((border - background) ** 2).sum(axis=1) < 9
    if share(near_border) < 0.8:
        return np.zeros(lab.shape[:2], dtype=bool)
    return np.asarray(((lab - background) ** 2).sum(axis=2) < 9)
