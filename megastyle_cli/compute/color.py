"""sRGB to CIELAB: exact, and by a table of cube roots that is faster and good to about 0.2.

Both stay because stored values depend on their bits: the fitted weights of the style descriptor on
the exact one, the confidences in captions on the table. Lightness is in [0, 100]; a and b are
within [-128, 128]; the white point is D65.
Source: IEC 61966-2-1 (sRGB), CIE 15 (CIELAB).
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]

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
_RATIO = np.arange(_STEPS + 1) / _STEPS
_ROOT = np.where(_RATIO > (6 / 29) ** 3, np.cbrt(_RATIO), _RATIO * (29 / 6) ** 2 / 3 + 4 / 29)
_ROOT = _ROOT.astype(np.float32)


def srgb_to_lab(pixels: Bytes) -> Array:
    """CIELAB (..., 3) float32 of sRGB bytes (..., 3); the same bits on every machine."""
    linear = _LINEAR[pixels]
    # not `linear @ matrix`: BLAS may sum in another order on another number of cores
    x, y, z = (
        linear[..., 0] * row[0] + linear[..., 1] * row[1] + linear[..., 2] * row[2]
        for row in _TO_WHITE_SUM
    )
    fx, fy, fz = (
        np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116) for t in (x, y, z)
    )
    return np.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], axis=-1)


def srgb_to_lab_by_table(pixels: Bytes) -> Array:
    """CIELAB (..., 3) float32 of sRGB bytes (..., 3), within about 0.2 of `srgb_to_lab`."""
    linear = _LINEAR.take(pixels.reshape(-1, 3).T)  # (3, pixels)
    steps = (_TO_WHITE_D65 @ linear * np.float32(_STEPS)).astype(np.int32)
    x, y, z = _ROOT.take(steps, mode="clip")
    lab = np.empty((y.size, 3), dtype=np.float32)
    lab[:, 0], lab[:, 1], lab[:, 2] = 116 * y - 16, 500 * (x - y), 200 * (y - z)
    return lab.reshape(pixels.shape)
