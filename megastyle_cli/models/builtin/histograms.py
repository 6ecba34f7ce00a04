"""Histograms of color, edges, strokes and texture: style statistics that ignore the content.

Every function returns a histogram, float32 (bins,), of a fixed length. Flat areas are left out
where they would only measure how much of the image is empty, which is content and not style.
Sources: CIELAB (CIE 15); local binary patterns, rotation-invariant and uniform (Ojala et al. 2002);
coherence of the structure tensor (Bigun and Granlund 1987); the choice of statistics is ours.
"""

from dataclasses import dataclass
from functools import cache, cached_property
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
# else 9. Bytes, since bytes.translate is several times as fast as indexing.
_BITS = np.arange(256, dtype=np.uint8)
_IS_CONTIGUOUS = np.bitwise_count(_BITS ^ (_BITS << 1 | _BITS >> 7)) <= 2
_PATTERNS = np.where(_IS_CONTIGUOUS, np.bitwise_count(_BITS), 9).astype(np.uint8)
_ONES, _TENS = _PATTERNS.tobytes(), (10 * _PATTERNS).tobytes()


@dataclass(frozen=True)
class Lightness:
    """CIELAB lightness `values` (h, w) of a thumbnail, and what several histograms need of it."""

    values: Array

    @cached_property
    def half(self) -> "Lightness":
        """At half the size: the mean of each 2 x 2 block; h and w are even."""
        rows = self.values[::2] + self.values[1::2]
        return Lightness((rows[:, ::2] + rows[:, 1::2]) / 4)

    @cached_property
    def gradient(self) -> tuple[Array, Array]:
        """Central differences along x and y, (h, w) each; zero on the border."""
        gx, gy = np.zeros_like(self.values), np.zeros_like(self.values)
        gx[:, 1:-1] = (self.values[:, 2:] - self.values[:, :-2]) / 2
        gy[1:-1] = (self.values[2:] - self.values[:-2]) / 2
        return gx, gy

    @cached_property
    def slope(self) -> Array:
        """The length of the gradient, (h, w)."""
        slope: Array = np.hypot(*self.gradient)
        return slope

    @cached_property
    def shades(self) -> Array:
        """Which of RUN_SHADES each pixel (h, w) has."""
        return _bins(self.values / 100, RUN_SHADES)


def lab_thumbnail(picture: Image.Image) -> Array:
    """The image in CIELAB, float32 (h, w, 3); long side SIDE_PX, both sides multiples of 4."""
    scale = SIDE_PX / max(picture.size)
    width_px, height_px = (max(SHORTEST_PX, 4 * round(n * scale / 4)) for n in picture.size)
    # a box filter looks like an image drawn at this size; other filters sharpen
    kernel = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    return srgb_to_lab(np.asarray(picture.resize((width_px, height_px), kernel)))


def colors(lab: Array) -> Array:
    """How often each lightness, a and b occurs in the pixels of (h, w, 3)."""
    return np.concatenate([_count(bins, COLOR_BINS) for bins in _color_bins(lab)])


def colors_and_edge_colors(lab: Array, is_edge: Array) -> tuple[Array, Array]:
    """The `colors` of all pixels of (h, w, 3), and of those on an edge."""
    bins = _color_bins(lab)
    bins += is_edge * np.int8(COLOR_BINS)
    counts = np.stack([_count(channel, 2 * COLOR_BINS).reshape(2, -1) for channel in bins], axis=1)
    return counts.sum(axis=0).ravel(), counts[1].ravel()


def edge_strengths(lightness: Lightness) -> Array:
    """How often a pixel's edge has each strength at full, half and quarter size, jointly.

    A sharp line, a soft shade and a fine texture of equal contrast fall into different bins.
    """
    code = np.zeros(lightness.values.shape, np.int16)
    for level, factor in ((lightness, 1), (lightness.half, 2), (lightness.half.half, 4)):
        steps = _steps(level.slope, EDGE_STEPS).repeat(factor, axis=0).repeat(factor, axis=1)
        code = code * EDGE_STEPS + steps
    return _drop_flat(_count(code, EDGE_STEPS**3))


def edge_coherence(lightness: Lightness) -> Array:
    """How often edges of each strength have one direction (lines) or many (corners, grain)."""
    gx, gy = lightness.gradient
    xx, xy, yy = _blurred(gx * gx, gx * gy, gy * gy)
    strength = np.sqrt(xx + yy)
    is_edge = np.flatnonzero(strength > FLAT)  # faster than a mask
    xx, xy, yy, strength = (each.take(is_edge) for each in (xx, xy, yy, strength))
    one_way = np.hypot(xx - yy, 2 * xy) / (xx + yy)
    code = _steps(strength, EDGE_STEPS) * COHERENCE_STEPS + _bins(one_way, COHERENCE_STEPS)
    return _count(code, EDGE_STEPS * COHERENCE_STEPS)


def stroke_widths(lightness: Lightness) -> Array:
    """Run lengths of each shade along rows and columns: line width, gaps, hatching.

    Runs across the whole image are background, not strokes, and are left out.
    """
    return _runs(lightness.shades) + _runs(lightness.shades.T)


def diagonal_stroke_widths(lightness: Lightness) -> Array:
    """Like `stroke_widths`, along both diagonals: rows and columns cut such strokes obliquely."""
    shades, root = lightness.shades, 2**0.5
    return _runs(_diagonals(shades), root) + _runs(_diagonals(shades[::-1]), root)


def texture(lightness: Lightness, radius_px: int) -> Array:
    """How often each pattern of brighter and darker neighbors occurs, in any rotation."""
    # In the flat array a neighbor of all pixels is one slice; those whose neighbors are beyond the
    # left or right border are cut off at the end.
    flat, width = lightness.values.ravel(), lightness.values.shape[1]
    rows, reach = len(lightness.values) - 2 * radius_px, radius_px * (width + 1)
    count = max(0, rows * width - 2 * radius_px)
    middle = flat[reach : reach + count]
    high, low = middle + FLAT, middle - FLAT
    brighter, darker, flags = np.zeros((3, rows * width), np.uint8)
    for dy, dx in _NEIGHBORS:
        start = reach + radius_px * (dy * width + dx)
        other = flat[start : start + count]
        for bits, compare, bound in ((brighter, np.greater, high), (darker, np.less, low)):
            compare(other, bound, out=flags[:count].view(np.bool_))
            bits += bits  # a place for the next bit
            bits |= flags
    tens = np.frombuffer(brighter.tobytes().translate(_TENS), np.uint8)
    ones = np.frombuffer(darker.tobytes().translate(_ONES), np.uint8)
    patterns = (tens + ones).reshape(rows, width)[:, : width - 2 * radius_px]
    return _drop_flat(_count(patterns, 100))


def _diagonals(shade: Array) -> Array:
    """The diagonals of (h, w) that fall to the left, as rows (h + w - 1, h); -1: no pixel."""
    height, width = shade.shape
    padded = np.full((height, height + width), -1, np.int8)
    padded[:, :width] = shade
    # in rows shorter by one, each row begins one further to the right than the row above
    slanted = padded.ravel()[: height * (height + width - 1)].reshape(height, -1)
    return slanted.T


def _runs(shade: Array, step_px: float = 1) -> Array:
    """How often each shade has each run length, in thirds of octaves, along rows of (h, w).

    Values below 0 are not pixels; `step_px` is the distance between neighbors.
    """
    height, width = shade.shape
    flat = np.full(1 + height * (width + 1), -1, np.int8)  # -1 before and after each row
    flat[1:].reshape(height, -1)[:, :-1] = shade
    ends = np.flatnonzero(flat[1:] != flat[:-1])  # of all runs; the first run is no pixel
    lengths, shades = np.diff(ends), flat[ends[1:]]
    is_part_of_row = (flat[ends[:-1]] >= 0) | (flat[ends[1:] + 1] >= 0)
    is_stroke = (shades >= 0) & is_part_of_row
    octave = _octaves(step_px, max(height, width))[lengths[is_stroke]]
    return _count(shades[is_stroke] * np.int16(RUN_STEPS) + octave, RUN_SHADES * RUN_STEPS)


@cache
def _octaves(step_px: float, longest: int) -> Array:
    """The bin of each run length from 0, which does not occur, in thirds of octaves."""
    lengths = np.maximum(np.arange(longest + 1), 1)
    thirds: Array = np.minimum(3 * np.log2(step_px * lengths), RUN_STEPS - 1).astype(np.int64)
    return thirds


def _blurred(*planes: Array) -> Array:
    """The triangle-weighted means of 5 x 5 neighborhoods in (h, w) each, the border repeated."""
    height, width = planes[0].shape
    padded = np.empty((len(planes), height + 4, width + 4), np.float32)
    for plane, inside in zip(planes, padded[:, 2:-2, 2:-2], strict=True):
        inside[:] = plane
    # ten times as fast as np.pad
    padded[:, :2, 2:-2], padded[:, -2:, 2:-2] = padded[:, 2:3, 2:-2], padded[:, -3:-2, 2:-2]
    padded[..., :2], padded[..., -2:] = padded[..., 2:3], padded[..., -3:-2]
    weights = (1 / 9, 2 / 9, 3 / 9, 2 / 9, 1 / 9)
    rows = weights[0] * padded[:, :height]
    for i, weight in enumerate(weights[1:], start=1):
        rows += weight * padded[:, i : i + height]
    blurred = weights[0] * rows[..., :width]
    for i, weight in enumerate(weights[1:], start=1):
        blurred += weight * rows[..., i : i + width]
    return blurred


def _color_bins(lab: Array) -> Array:
    """The bins of lightness, a and b of each pixel of (h, w, 3): (3, h, w)."""
    lightness, a, b = np.moveaxis(lab, -1, 0)
    shades = (lightness / 100, (a + 100) / 200, (b + 100) / 200)
    return np.stack([_bins(shade, COLOR_BINS) for shade in shades])


def _steps(strength: Array, count: int) -> Array:
    """The bin of an edge strength in 0..50, on a logarithmic scale."""
    return _bins(np.log2(1 + strength) / np.log2(51), count)


def _bins(share: Array, count: int) -> Array:
    """The bin 0..count-1 of each value in 0..1; values outside fall into the outer bins."""
    # clipped as whole numbers, which is faster
    whole: Array = (share * count).astype(np.int8).clip(0, count - 1)
    return whole


def _count(code: Array, count: int) -> Array:
    return np.bincount(code.ravel(), minlength=count).astype(np.float32)


def _drop_flat(histogram: Array) -> Array:
    histogram[0] = 0
    return histogram
