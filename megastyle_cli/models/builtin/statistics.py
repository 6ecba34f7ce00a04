"""What can be counted in a picture without knowing what it shows: colours, edges, strokes, texture.

Every function returns a histogram, float32 (bins,), of a fixed length. Flat ground is left out
wherever it would only tell how much of the picture is empty, which is content and not style.
Sources: CIELAB (CIE 15); local binary patterns, rotation-invariant and uniform (Ojala et al. 2002);
coherence of the structure tensor (Bigun and Granlund 1987); the choice of statistics is ours.
"""

from typing import Any

import numpy as np
from PIL import Image

# h, w: pixels of the working copy
Array = np.ndarray[Any, np.dtype[Any]]

SIDE_PX = 128
SHORTEST_PX = 16
COLOR_BINS = 64
EDGE_STEPS = 8
COHERENCE_STEPS = 8
RUN_SHADES = 6
RUN_STEPS = 22
FLAT = 2.0  # in CIELAB lightness (0..100): smaller changes are paper grain and JPEG noise

_SRGB = np.arange(256) / 255
_LINEAR = np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4)
_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
# Rows divided by their sum put the white of sRGB (D65) at (1, 1, 1).
_TO_WHITE_XYZ = _TO_XYZ / _TO_XYZ.sum(axis=1, keepdims=True)
_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


def working_copy(picture: Image.Image) -> Array:
    """The picture in CIELAB, float32 (h, w, 3); long side SIDE_PX, both sides multiples of 4."""
    scale = SIDE_PX / max(picture.size)
    width_px, height_px = (max(SHORTEST_PX, 4 * round(n * scale / 4)) for n in picture.size)
    # the mean over an area is how a picture drawn at this size would look: other filters sharpen
    kernel = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    return lab(np.asarray(picture.resize((width_px, height_px), kernel)))


def lab(pixels: Array) -> Array:
    """sRGB bytes (h, w, 3) in CIELAB, float32: lightness in 0..100, a and b within -128..128."""
    linear = _LINEAR.astype(np.float32)[pixels]
    # not `linear @ matrix`: BLAS may sum in another order on another number of cores
    x, y, z = (
        linear[..., 0] * row[0] + linear[..., 1] * row[1] + linear[..., 2] * row[2]
        for row in _TO_WHITE_XYZ.astype(np.float32)
    )
    fx, fy, fz = (
        np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116) for t in (x, y, z)
    )
    return np.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], axis=-1)


def colors(picture: Array, where: Array) -> Array:
    """How often each lightness, a and b occurs in the pixels of (h, w, 3) that `where` marks."""
    lightness, a, b = picture[where].T
    shades = (lightness / 100, (a + 100) / 200, (b + 100) / 200)
    return np.concatenate([_count(_bins(shade, COLOR_BINS), COLOR_BINS) for shade in shades])


def edge_strengths(lightness: Array) -> Array:
    """How often a pixel's edge has each strength at full, half and quarter size, jointly.

    A sharp line, a soft shade and a fine texture of one contrast fall into different bins.
    """
    half = halved(lightness)
    code = np.zeros(lightness.shape, np.int64)
    for level, factor in ((lightness, 1), (half, 2), (halved(half), 4)):
        steps = _steps(np.hypot(*_gradient(level)), EDGE_STEPS)
        code = code * EDGE_STEPS + steps.repeat(factor, axis=0).repeat(factor, axis=1)
    return _without_flat(_count(code, EDGE_STEPS**3))


def edge_coherence(lightness: Array) -> Array:
    """How often edges of each strength run one way (lines) or many (corners, grain, hatching)."""
    gx, gy = _gradient(lightness)
    xx, xy, yy = _blurred(gx * gx), _blurred(gx * gy), _blurred(gy * gy)
    energy = xx + yy
    one_way = np.hypot(xx - yy, 2 * xy) / np.maximum(energy, 1e-6)
    strength = np.sqrt(energy)
    code = _steps(strength, EDGE_STEPS) * COHERENCE_STEPS + _bins(one_way, COHERENCE_STEPS)
    return _count(code[strength > FLAT], EDGE_STEPS * COHERENCE_STEPS)


def stroke_widths(lightness: Array) -> Array:
    """How often each shade runs for each length along rows and columns: line width, gaps, hatching.

    Runs that cross the whole picture are ground, not strokes, and are left out.
    """
    shade = _bins(lightness / 100, RUN_SHADES)
    return _runs(shade) + _runs(shade.T)


def slanted_stroke_widths(lightness: Array) -> Array:
    """As `stroke_widths`, along both diagonals: rows and columns cut such strokes slantwise."""
    shade = _bins(lightness / 100, RUN_SHADES)
    root = 2**0.5
    return _runs(_diagonals(shade), root) + _runs(_diagonals(shade[::-1]), root)


def texture(lightness: Array, radius_px: int) -> Array:
    """How often each pattern of brighter and darker neighbours occurs, whichever way it turns."""
    brighter, darker = [], []
    height_px, width_px = lightness.shape
    middle = lightness[radius_px : height_px - radius_px, radius_px : width_px - radius_px]
    for dy, dx in _AROUND:
        top, left = radius_px * (1 + dy), radius_px * (1 + dx)
        other = lightness[top : top + middle.shape[0], left : left + middle.shape[1]]
        brighter.append(other > middle + FLAT)
        darker.append(other < middle - FLAT)
    return _without_flat(_count(_pattern(brighter) * 10 + _pattern(darker), 100))


def halved(lightness: Array) -> Array:
    """(h, w) at half the size: the mean of each 2 x 2 block; h and w are even."""
    rows = lightness[::2] + lightness[1::2]
    mean: Array = (rows[:, ::2] + rows[:, 1::2]) / 4
    return mean


def edges(lightness: Array) -> Array:
    """The pixels (h, w) that lie on an edge, as booleans."""
    return np.hypot(*_gradient(lightness)) > FLAT


def _pattern(neighbours: list[Array]) -> Array:
    """0..8: how many of the eight are set, if they stand together; 9: they stand apart."""
    ring = np.stack(neighbours)
    changes = (ring != np.roll(ring, 1, axis=0)).sum(axis=0)
    return np.where(changes <= 2, ring.sum(axis=0), 9)


def _diagonals(shade: Array) -> Array:
    """The diagonals of (h, w) that fall to the left, as rows (h + w - 1, h); -1: no pixel."""
    height, width = shade.shape
    down = np.arange(height)[:, None]
    slanted = np.full((height, height + width - 1), -1)
    slanted[down, down + np.arange(width)] = shade
    return slanted.T


def _runs(shade: Array, step_px: float = 1) -> Array:
    """How often each shade runs for each length, in thirds of octaves, along rows of (h, w).

    Below 0 is no pixel; `step_px` is how far one is from the next.
    """
    height, width = shade.shape
    whole = (shade >= 0).sum(axis=1)
    rows = np.full((height, width + 1), -1)  # the last column ends every row's last run
    rows[:, :-1] = shade
    flat = rows.ravel()
    ends = np.flatnonzero(np.diff(flat, append=RUN_SHADES))
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    kept = (flat[starts] >= 0) & (lengths < whole[starts // (width + 1)])
    octave = np.minimum(3 * np.log2(step_px * lengths[kept]), RUN_STEPS - 1).astype(np.int64)
    return _count(flat[starts][kept] * RUN_STEPS + octave, RUN_SHADES * RUN_STEPS)


def _gradient(lightness: Array) -> tuple[Array, Array]:
    """Central differences along x and y, (h, w) each; zero on the border."""
    gx, gy = np.zeros_like(lightness), np.zeros_like(lightness)
    gx[:, 1:-1] = (lightness[:, 2:] - lightness[:, :-2]) / 2
    gy[1:-1] = (lightness[2:] - lightness[:-2]) / 2
    return gx, gy


def _blurred(values: Array) -> Array:
    """The triangle-weighted mean of each pixel's 5 x 5 surroundings, the border repeated."""
    height, width = values.shape
    padded = np.pad(values, 2, mode="edge")
    weights = (1 / 9, 2 / 9, 3 / 9, 2 / 9, 1 / 9)
    rows = np.zeros((height, width + 4), values.dtype)
    for i, weight in enumerate(weights):
        rows += weight * padded[i : i + height]
    blurred = np.zeros_like(values)
    for i, weight in enumerate(weights):
        blurred += weight * rows[:, i : i + width]
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


def _without_flat(histogram: Array) -> Array:
    histogram[0] = 0
    return histogram
