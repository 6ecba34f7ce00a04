"""The small working copy of a picture that every pixel measure reads: CIELAB and its gradient.

h, w: height and width of the working copy in pixels. Lightness L is in [0, 100]; a and b are CIELAB
(D65), roughly in [-110, 110]; gradients are in units of L per pixel of the working copy.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, np.dtype[np.float32]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

LONG_SIDE_PX = 256
# Thinner pictures are widened to this, so that every measure has neighbours to see.
SHORT_SIDE_PX = 16

_BYTE = np.arange(256) / 255
_LINEAR = np.where(_BYTE <= 0.04045, _BYTE / 12.92, ((_BYTE + 0.055) / 1.055) ** 2.4)
_LINEAR = _LINEAR.astype(np.float32)
_WHITE = np.array([0.95047, 1.0, 1.08883])
_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_FROM_RGB = (_TO_XYZ / _WHITE[:, None]).astype(np.float32)
_STEPS = 1 << 14
_RATIO = np.arange(_STEPS + 1) / _STEPS
_ROOT = np.where(_RATIO > (6 / 29) ** 3, np.cbrt(_RATIO), _RATIO * (29 / 6) ** 2 / 3 + 4 / 29)
_ROOT = _ROOT.astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """A working copy: `rgb` (h, w, 3) uint8, `lab` (h, w, 3), and what is derived from them once.

    `across` and `down` (h, w) are the slopes of L to the right and downwards, `steep` their length;
    `figure` (h, w) is False on a plain ground that surrounds the picture, True elsewhere.
    """

    rgb: np.ndarray[Any, np.dtype[np.uint8]]
    lab: Array
    across: Array
    down: Array
    steep: Array
    figure: Mask

    @property
    def lightness(self) -> Array:
        """L, (h, w)."""
        return self.lab[..., 0]


def to_lab(rgb: np.ndarray[Any, np.dtype[np.uint8]]) -> Array:
    """CIELAB (..., 3) float32 of sRGB bytes (..., 3), good to about 0.1 (a table of cube roots)."""
    linear = _LINEAR.take(rgb.reshape(-1, 3).T)  # (3, pixels)
    steps = (_FROM_RGB @ linear * np.float32(_STEPS)).astype(np.int32)
    x, y, z = _ROOT.take(steps, mode="clip")
    lab = np.empty((y.size, 3), dtype=np.float32)
    lab[:, 0], lab[:, 1], lab[:, 2] = 116 * y - 16, 500 * (x - y), 200 * (y - z)
    return lab.reshape(rgb.shape)


def block_means(values: Array, side: int) -> Array:
    """The mean of every whole square of `side` x `side` values: (h // side, w // side)."""
    height, width = (length // side for length in values.shape)
    cut = values[: height * side, : width * side]
    rows = cut.reshape(height, side, width * side).sum(axis=1)
    # columns one by one: a sum over a short last axis takes numpy ten times as long
    total = rows[:, ::side].copy()
    for column in range(1, side):
        total += rows[:, column::side]
    means: Array = total / np.float32(side * side)
    return means


def working_copy(picture: Image.Image) -> Canvas:
    """`picture` with a long side of at most 256 px and a short side of at least 16 px."""
    scale = min(1.0, LONG_SIDE_PX / max(picture.size))
    width, height = (max(SHORT_SIDE_PX, round(side * scale)) for side in picture.size)
    small = picture.convert("RGB").resize(
        (width, height), Image.Resampling.HAMMING, reducing_gap=2.0
    )
    rgb = np.asarray(small)
    lab = to_lab(rgb)
    down, across = _slopes(lab[..., 0])
    return Canvas(
        rgb=rgb,
        lab=lab,
        across=across,
        down=down,
        steep=np.sqrt(across * across + down * down),
        figure=~_plain_ground(lab),
    )


def _slopes(lightness: Array) -> tuple[Array, Array]:
    """Central differences downwards and across, (h, w) each, one-sided at the border."""
    padded = np.pad(lightness, 1, mode="edge")
    down = (padded[2:, 1:-1] - padded[:-2, 1:-1]) * np.float32(0.5)
    across = (padded[1:-1, 2:] - padded[1:-1, :-2]) * np.float32(0.5)
    return down, across


def _plain_ground(lab: Array) -> Mask:
    """Where the colour of a uniform border is found; nowhere if the border is mixed."""
    border = np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
    ground = np.median(border, axis=0)
    near_border = ((border - ground) ** 2).sum(axis=1) < 9
    if near_border.mean() < 0.8:
        return np.zeros(lab.shape[:2], dtype=bool)
    return np.asarray(((lab - ground) ** 2).sum(axis=2) < 9)
