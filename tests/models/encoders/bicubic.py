"""Bicubic resizing and the processing of encoders, written out from their definitions.

Independent of Pillow and transformers: the cubic convolution kernel with a = -0.5, widened where an
image shrinks, first along rows, then along columns. As in Pillow, coefficients are rounded to 22
bits and each pass to whole grey levels. (Pillow 13 begins with the columns where that is less
work, which can change a grey level by one: give pictures that are no narrower than high.)
"""

import numpy as np

BITS = 22


def bicubic(pixels, width_px, height_px):
    """uint8 pixels (h, w, 3) resized to (height_px, width_px, 3)."""
    rows = _along_rows(pixels.astype(np.int64), width_px)
    columns = _along_rows(rows.transpose(1, 0, 2), height_px)
    return columns.transpose(1, 0, 2).astype(np.uint8)


def squash(pixels, side_px):
    """SigLIP: the whole image as a square in [-1, 1], float32 (3, side, side)."""
    square = bicubic(pixels, side_px, side_px).astype(np.float64)
    return ((square / 255 - 0.5) / 0.5).transpose(2, 0, 1).astype(np.float32)


def crop_center(pixels, side_px, offset):
    """CLIP and CSD: the center of the image whose shorter side is `side_px`, normalized.

    `offset` is the first row or column that is kept of a margin: CLIP's processor in transformers
    takes the floor of half of it, torchvision in CSD's script rounds half to even.
    """
    height, width = pixels.shape[:2]
    short = min(height, width)
    small = bicubic(pixels, int(side_px * width / short), int(side_px * height / short))
    top, left = (offset(length - side_px) for length in small.shape[:2])
    square = small[top : top + side_px, left : left + side_px].astype(np.float64) / 255
    mean = np.array([0.48145466, 0.4578275, 0.40821073])
    deviation = np.array([0.26862954, 0.26130258, 0.27577711])
    return ((square - mean) / deviation).transpose(2, 0, 1).astype(np.float32)


def floor_half(margin_px):
    return margin_px // 2


def round_half(margin_px):
    return int(round(margin_px / 2.0))


def _along_rows(pixels, width_px):
    """Each row of (h, w, c) resized to `width_px`."""
    if pixels.shape[1] == width_px:
        return pixels
    scale = pixels.shape[1] / width_px
    widening = max(scale, 1.0)
    columns = []
    for column in range(width_px):
        center = (column + 0.5) * scale
        first = max(int(center - 2 * widening + 0.5), 0)
        last = min(int(center + 2 * widening + 0.5), pixels.shape[1])
        kernel = _cubic((np.arange(first, last) - center + 0.5) / widening)
        fixed = kernel / kernel.sum() * 2**BITS
        fixed = np.trunc(fixed + np.copysign(0.5, fixed)).astype(np.int64)
        total = np.einsum("hkc,k->hc", pixels[:, first:last], fixed)
        columns.append((total + 2 ** (BITS - 1)) >> BITS)
    return np.stack(columns, axis=1).clip(0, 255)


def _cubic(x, a=-0.5):
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
