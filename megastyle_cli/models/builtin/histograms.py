"""Histograms of color, edges, strokes and texture: style statistics that ignore the content.

Every function returns a histogram, float32 (bins,), of a fixed length. Flat areas are left out
where they would only measure how much of the image is empty, which is content and not style.
Sources: CIELAB (CIE 15); local binary patterns, rotation-invariant and uniform (Ojala et al. 2002);
coherence of the structure tensor (Bigun and Granlund 1987); the choice of statistics is ours.
"""

from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from megastyle_cli.models.builtin.working_image import srgb_to_lab

# h, w: pixels of the thumbnail
Array = np.ndarray[Any, np.dtype[Any]]

SIDE_PX = 128
SHORTEST_PX = 16
COLOR_BINS = 64
EDGE_STEPS = 8
COHERENCE_STEPS = 8
RUN_SHADES = 6
RUN_STEPS = 22
FLAT = 2.0  # in CIELAB lightness (0..100): smaller changes are paper grain and JPEG noise

_NEIGHBORS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
# For each set of the eight neighbors, a bit for each: how many there are if they are contiguous,
# else 9.
_BITS = np.arange(256, dtype=np.uint8)
_IS_CONTIGUOUS = np.bitwise_count(_BITS ^ (_BITS << 1 | _BITS >> 7)) <= 2
_PATTERNS = np.where(_IS_CONTIGUOUS, np.bitwise_count(_BITS), 9).astype(np.uint8)


def lab_thumbnail(picture: Image.Image) -> Array:
    """The image in CIELAB, float32 (h, w, 3); long side SIDE_PX, both sides multiples of 4."""
    scale = SIDE_PX / max(picture.size)
    width_px, height_px = (max(SHORTEST_PX, 4 * round(n * scale / 4)) for n in picture.size)
    # a box filter looks like an image drawn at this size; other filters sharpen
    kernel = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    return srgb_to_lab(np.asarray(picture.resize((width_px, height_px), kernel)))


def colors(lab: Array, mask: Array | None = None) -> Array:
    """How often each lightness, a and b occurs in the pixels of (h, w, 3) that `mask` selects."""
    channels = (lab[..., channel] for channel in range(3))
    lightness, a, b = (each if mask is None else each[mask] for each in channels)
    shades = (lightness / 100, (a + 100) / 200, (b + 100) / 200)
    return np.concatenate([_count(_bins(shade, COLOR_BINS), COLOR_BINS) for shade in shades])


def edge_strengths(lightness: Array) -> Array:
    """How often a pixel's edge has each strength at full, half and quarter size, jointly.

    A sharp line, a soft shade and a fine texture of equal contrast fall into different bins.
    """
    half = halved(lightness)
    code = np.zeros(lightness.shape, np.int64)
    for level, factor in ((lightness, 1), (half, 2), (halved(half), 4)):
        steps = _steps(np.hypot(*_gradient(level)), EDGE_STEPS)
        code = code * EDGE_STEPS + steps.repeat(factor, axis=0).repeat(factor, axis=1)
    return _drop_flat(_count(code, EDGE_STEPS**3))


def edge_coherence(lightness: Array) -> Array:
    """How often edges of each strength have one direction (lines) or many (corners, grain)."""
    gx, gy = _gradient(lightness)
    xx, xy, yy = _blurred(np.stack([gx * gx, gx * gy, gy * gy]))
    strength = np.sqrt(xx + yy)
    is_edge = strength > FLAT
    xx, xy, yy, strength = xx[is_edge], xy[is_edge], yy[is_edge], strength[is_edge]
    one_way = np.hypot(xx - yy, 2 * xy) / (xx + yy)
    code = _steps(strength, EDGE_STEPS) * COHERENCE_STEPS + _bins(one_way, COHERENCE_STEPS)
    return _count(code, EDGE_STEPS * COHERENCE_STEPS)


def stroke_widths(lightness: Array) -> Array:
    """Run lengths of each shade along rows and columns: line width, gaps, hatching.

    Runs across the whole image are background, not strokes, and are left out.
    """
    shade = _bins(lightness / 100, RUN_SHADES)
    return _runs(shade) + _runs(shade.T)


def diagonal_stroke_widths(lightness: Array) -> Array:
    """Like `stroke_widths`, along both diagonals: rows and columns cut such strokes obliquely."""
    shade = _bins(lightness / 100, RUN_SHADES)
    root = 2**0.5
    return _runs(_diagonals(shade), root) + _runs(_diagonals(shade[::-1]), root)


def texture(lightness: Array, radius_px: int) -> Array:
    """How often each pattern of brighter and darker neighbors occurs, in any rotation."""
    height_px, width_px = lightness.shape
    middle = lightness[radius_px : height_px - radius_px, radius_px : width_px - radius_px]
    high, low = middle + FLAT, middle - FLAT
    brighter, darker = np.zeros(middle.shape, np.uint8), np.zeros(middle.shape, np.uint8)
    for dy, dx in _NEIGHBORS:
        top, left = radius_px * (1 + dy), radius_px * (1 + dx)
        other = lightness[top : top + middle.shape[0], left : left + middle.shape[1]]
        brighter += brighter  # a place for the next bit
        brighter |= other > high
        darker += darker
        darker |= other < low
    return _drop_flat(_count(_PATTERNS[brighter] * np.uint8(10) + _PATTERNS[darker], 100))


def halved(lightness: Array) -> Array:
    """(h, w) at half the size: the mean of each 2 x 2 block; h and w are even."""
    rows = lightness[::2] + lightness[1::2]
    mean: Array = (rows[:, ::2] + rows[:, 1::2]) / 4
    return mean


def edges(lightness: Array) -> Array:
    """The pixels (h, w) that lie on an edge, as booleans."""
    return np.hypot(*_gradient(lightness)) > FLAT


def _diagonals(shade: Array) -> Array:
    """The diagonals of (h, w) that fall to the left, as rows (h + w - 1, h); -1: no pixel."""
    height, width = shade.shape
    down = np.arange(height)[:, None]
    slanted = np.full((height, height + width - 1), -1, np.int8)
    slanted[down, down + np.arange(width)] = shade
    return slanted.T


def _runs(shade: Array, step_px: float = 1) -> Array:
    """How often each shade has each run length, in thirds of octaves, along rows of (h, w).

    Values below 0 are not pixels; `step_px` is the distance between neighbors.
    """
    height, width = shade.shape
    whole = (shade >= 0).sum(axis=1)
    # the last column ends every row's last run
    rows = np.full((height, width + 1), -1, np.int8)
    rows[:, :-1] = shade
    flat = rows.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    ends = np.append(changes, flat.size - 1)
    starts = np.concatenate([[0], changes + 1])
    lengths, shades = ends - starts + 1, flat[starts]
    is_stroke = (shades >= 0) & (lengths < whole[starts // (width + 1)])
    octave = _octaves(step_px, max(height, width))[lengths[is_stroke]]
    return _count(shades[is_stroke].astype(np.int64) * RUN_STEPS + octave, RUN_SHADES * RUN_STEPS)


@cache
def _octaves(step_px: float, longest: int) -> Array:
    """The bin of each run length from 0, which does not occur, in thirds of octaves."""
    lengths = np.maximum(np.arange(longest + 1), 1)
    thirds: Array = np.minimum(3 * np.log2(step_px * lengths), RUN_STEPS - 1).astype(np.int64)
    return thirds


def _gradient(lightness: Array) -> tuple[Array, Array]:
    """Central differences along x and y, (h, w) each; zero on the border."""
    gx, gy = np.zeros_like(lightness), np.zeros_like(lightness)
    gx[:, 1:-1] = (lightness[:, 2:] - lightness[:, :-2]) / 2
    gy[1:-1] = (lightness[2:] - lightness[:-2]) / 2
    return gx, gy


def _blurred(values: Array) -> Array:
    """The triangle-weighted means of 5 x 5 neighborhoods in (n, h, w), the border repeated."""
    _, height, width = values.shape
    padded = np.pad(values, ((0, 0), (2, 2), (2, 2)), mode="edge")
    weights = (1 / 9, 2 / 9, 3 / 9, 2 / 9, 1 / 9)
    rows = weights[0] * padded[:, :height]
    for i, weight in enumerate(weights[1:], start=1):
        rows += weight * padded[:, i : i + height]
    blurred = weights[0] * rows[..., :width]
    for i, weight in enumerate(weights[1:], start=1):
        blurred += weight * rows[..., i : i + width]
    return blurred


def _steps(strength: Array, count: int) -> Array:
    """The bin of an edge strength in 0..50, on a logarithmic scale."""
    return _bins(np.log2(1 + strength) / np.log2(51), count)


def _bins(share: Array, count: int) -> Array:
    """The bin 0..count-1 of each value in 0..1; values outside fall into the outer bins."""
    whole: Array = np.clip(share * count, 0, count - 1).astype(np.int64)
    return whole


def _count(code: Array, count: int) -> Array:
    return np.bincount(code.ravel(), minlength=count).astype(np.float32)


def _drop_flat(histogram: Array) -> Array:
    histogram[0] = 0
    return histogram
