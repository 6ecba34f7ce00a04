"""The local structure of an image: roughness, grain and repeating patterns; edge sharpness, dark
outlines and brush strokes, from its gradient."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from megastyle_cli.models.builtin.working_image import (
    Array,
    Bytes,
    Mask,
    WorkingImage,
    block_means,
    share,
)

Values = np.ndarray[Any, Any]

ROUGH = 2.0  # L, root mean square of the finest octave in a rough cell
MIN_AUTOCORRELATION = 0.35  # at one period, for a pattern to be named
CELL_PX = 8
_SIDE = 96  # pixels of the grid on which patterns are searched


@dataclass(frozen=True, kw_only=True)
class Roughness:
    """`flat`: share of pixels in uniform areas; `rough`: share of 8 px cells with texture;
    `fineness`: the finest octave's amplitude over the next one's (near 1 for grain)."""

    flat: float
    rough: float
    fineness: float


def measure_roughness(image: WorkingImage) -> Roughness:
    """How much of the image is uniform, how much is textured, and how fine the texture is."""
    fine, half = _octave(image.lightness)
    coarse, _ = _octave(half)
    power = block_means(fine * fine, 2)
    cells = block_means(power, 4)
    next_power = max(float((coarse * coarse).mean()), 1e-6)
    return Roughness(
        flat=image.flat_share,
        rough=share(cells > ROUGH * ROUGH),
        fineness=float(np.sqrt(power.mean() / next_power)),
    )


def describe_surface(roughness: Roughness) -> str:
    """At most 4 words without a comma, to precede "surface"."""
    if roughness.flat > 0.7:
        return "flat"
    if roughness.rough < 0.4:
        return "smooth" if roughness.rough < 0.2 else "mostly smooth"
    grain = {"fine": "fine-grained", "broad": "coarse-grained"}
    amount = "partly" if roughness.rough < 0.7 else "densely"
    return f"{amount} {grain.get(describe_scale(roughness), 'textured')}"


def describe_scale(roughness: Roughness) -> str:
    """The size of the marks: "fine", "medium" or "broad"."""
    if roughness.fineness > 0.92:
        return "fine"
    return "broad" if roughness.fineness < 0.74 else "medium"


def describe_pattern(image: WorkingImage) -> str | None:
    """The repeating pattern: stripes with their direction, or a grid; None if nothing repeats.

    A pattern is a peak, away from lag 0, of the autocorrelation of the lightness without its slow
    variation, at lags up to half the image.
    """
    height, width = image.lightness.shape
    step = -(-max(height, width) // _SIDE)
    grid = block_means(image.lightness, step)
    if min(grid.shape) < 16 or grid.std() < 3:
        return None
    detail = _high_pass(grid)
    along_y, along_x = (autocorrelation(detail, axis) for axis in (0, 1))
    period_x, period_y = _period(along_x), _period(along_y)
    if period_x and period_y:
        return "checkered grid"
    if period_x and along_y[: len(along_y) // 4].min() > 0.5:
        return "vertical stripes"
    if period_y and along_x[: len(along_x) // 4].min() > 0.5:
        return "horizontal stripes"
    return None


def _octave(values: Array) -> tuple[Array, Array]:
    """The finest detail (2m, 2n) and the half-size mean (m, n), without odd rows and columns."""
    rows, columns = (side // 2 for side in values.shape)
    even = values[: rows * 2, : columns * 2]
    half: Array = (
        even[::2, ::2] + even[::2, 1::2] + even[1::2, ::2] + even[1::2, 1::2]
    ) * np.float32(0.25)
    fine = np.empty_like(even)
    for row in (0, 1):
        for column in (0, 1):
            np.subtract(even[row::2, column::2], half, out=fine[row::2, column::2])
    return fine, half


def _high_pass(grid: Array) -> Array:
    """`grid` minus its mean over a window of a quarter of the short side."""
    reach = min(grid.shape) // 8
    slow: np.ndarray[Any, Any] = grid
    for axis in (0, 1):
        size = grid.shape[axis]
        lines = np.moveaxis(slow, axis, 0)
        # mirrored; np.pad would take longer than the sums
        wide = [lines[min(reach + 1, size - 1) : 0 : -1], lines, lines[-2 : -2 - reach : -1]]
        wide = wide if size > 1 else [lines, lines]
        lines = np.cumsum(np.concatenate(wide), axis=0, dtype=np.float64)
        means = (lines[2 * reach + 1 :] - lines[:size]) / (2 * reach + 1)
        slow = np.moveaxis(means, 0, axis)
    rest: Array = grid - slow.astype(np.float32)
    return rest


def autocorrelation(grid: Array, axis: int) -> Array:
    """Autocorrelation (m,) at each lag along one axis, up to half of it; 1 at lag 0.

    The mean over all pairs of pixels at a lag, by the power spectrum of lines padded to twice their
    length (Wiener-Khinchin).
    """
    lines = np.moveaxis(grid, axis, 1)
    count, size = lines.shape
    spectrum = np.fft.rfft(lines, n=2 * size)
    power = (spectrum.real**2 + spectrum.imag**2).sum(axis=0)
    products = np.fft.irfft(power, n=2 * size)[: size // 2]
    mean = products / (count * np.arange(size, size - size // 2, -1))
    correlation: Array = (mean / max(float(mean[0]), 1e-6)).astype(np.float32)
    return correlation


def _period(correlation: Array) -> int | None:
    """The lag of the first strong peak after a clear dip, if it recurs at twice the lag."""
    dips = np.flatnonzero(correlation < -0.1)
    if dips.size == 0 or correlation[dips[0] :].max() < MIN_AUTOCORRELATION:
        return None
    after = correlation[dips[0] :]
    start = int(np.flatnonzero(after >= 0.9 * after.max())[0])
    lag = int(dips[0]) + start + int(after[start : start + 4].argmax())
    again = correlation[2 * lag - 2 : 2 * lag + 3]
    return lag if again.size and again.max() >= MIN_AUTOCORRELATION else None


def window(values: Values, reach: int, pick: Callable[..., Values]) -> Values:
    """The maximum (np.maximum) or minimum (np.minimum) of each square window.

    A window extends `reach` pixels to each side.
    """
    for axis in (0, 1):
        # not transposed: rows stay contiguous
        wide = _with_border(values, reach, axis)
        covered, size = 1, 2 * reach + 1
        while covered < size:
            step = min(covered, size - covered)
            wide = (
                pick(wide[:-step], wide[step:])
                if axis == 0
                else pick(wide[:, :-step], wide[:, step:])
            )
            covered += step
        values = wide
    return values


def _with_border(values: Values, reach: int, axis: int) -> Values:
    """What np.pad gives with the edge repeated, in a tenth of its time."""
    first, last = (values[:1], values[-1:]) if axis == 0 else (values[:, :1], values[:, -1:])
    before, after = np.repeat(first, reach, axis), np.repeat(last, reach, axis)
    return np.concatenate([before, values, after], axis)


def edge_width(image: WorkingImage) -> float | None:
    """The width in pixels (of 256) of the steepest edges; None without edges."""
    bound = _largest(image.gradient.ravel(), int(image.gradient.size * 0.98))
    if bound < 1.0:
        return None
    steepest = image.gradient >= bound
    lightness = image.lightness_bytes
    span = window(lightness, 6, np.maximum) - window(lightness, 6, np.minimum)
    return float(np.median(span[steepest] / image.gradient[steepest])) / 2.55


def _largest(values: Array, rank: int) -> float:
    """The value (n,) at `rank` in ascending order, where `rank` is near the end."""
    # Sorted are only values above one that a sample finds to be low enough, mostly.
    sample = np.sort(values[::32])
    above = values[values >= sample[int(0.95 * sample.size)]]
    if above.size < values.size - rank:
        above = values
    rank -= values.size - above.size
    return float(np.partition(above, rank)[rank])


def describe_edges(image: WorkingImage) -> str | None:
    """ "sharp", "soft", or None in between and where there are no edges."""
    width = edge_width(image)
    if width is None:
        return None
    return "sharp" if width < 2.5 else "soft" if width > 4 else None


@dataclass(frozen=True, kw_only=True)
class Outline:
    """Dark lines between lighter areas.

    `coverage` is the share of strong edges that lie on such a line, `tidiness` the share of uniform
    pixels beside the lines, `area` the lines' share of the image, `width` their width as a share of
    the long side, `lab` (3,) their color.
    """

    coverage: float
    tidiness: float
    area: float
    width: float
    lab: Array


MIN_DEPTH = 50  # of 255: how much darker than both its sides a line is


def measure_outline(image: WorkingImage, reach: int) -> Outline | None:
    """Dark lines up to twice `reach` px wide; None if there are none.

    Source: the black top-hat transform of mathematical morphology.
    """
    # Bytes: rank filters need only the order, and are several times faster on them.
    depth = _top_hat(image.lightness_bytes, reach)
    lines: Mask = depth > MIN_DEPTH
    area = share(lines)
    if area < 0.004:
        return None
    # A line has two borders along its length: its width is twice its area over its border.
    border = int(np.count_nonzero(lines & ~window(lines, 1, np.minimum)))
    near = window(lines, 2, np.maximum)
    strong = image.gradient > 8
    sides = window(near, 3, np.maximum) & ~near
    deep = lines & (depth > 0.7 * depth.max())
    return Outline(
        coverage=int(np.count_nonzero(strong & near)) / max(int(np.count_nonzero(strong)), 1),
        tidiness=share(image.gradient[sides] < 3) if sides.any() else 0.0,
        area=area,
        width=2 * area * lines.size / border / max(lines.shape),
        lab=np.array([np.median(image.lab[..., channel][deep]) for channel in range(3)]),
    )


def _top_hat(lightness: Bytes, reach: int) -> Bytes:
    """How much a closing brightens each pixel: it fills dark lines up to 2 * reach px wide."""
    closed = window(window(lightness, reach, np.maximum), reach, np.minimum)
    return closed - lightness


@dataclass(frozen=True, kw_only=True)
class Strokes:
    """Oriented texture in cells of 8 px.

    `share` of cells with texture, their mean `coherence` in [0, 1] (1: one direction per cell),
    `agreement` in [0, 1] of the directions over the image, `flow` in [-1, 1] between neighbors,
    `angle` the mean direction of the strokes in radians [0, pi), 0 is horizontal.
    """

    share: float
    coherence: float
    agreement: float
    flow: float
    angle: float


def measure_strokes(image: WorkingImage) -> Strokes:
    """The structure tensor of each cell, and how far the cells' directions agree."""
    gx, gy = image.gradient_x, image.gradient_y
    products = (gx * gx, gy * gy, gx * gy)
    xx, yy, xy = (block_means(product, CELL_PX) for product in products)
    energy = xx + yy
    doubled = (xx - yy) + 2j * xy
    coherence = np.abs(doubled) / np.maximum(energy, 1e-6)
    textured = energy > 4.0
    weight = np.where(textured, coherence, 0)
    unit = doubled / np.maximum(np.abs(doubled), 1e-6)
    total = complex((weight * unit).sum())
    mass = max(float(weight.sum()), 1e-6)
    # The gradient is perpendicular to the stroke: half a turn of the doubled angle.
    angle = (np.angle(-total) / 2) % np.pi
    return Strokes(
        share=share(textured),
        coherence=float(weight.sum() / max(int(textured.sum()), 1)),
        agreement=abs(total) / mass,
        flow=_flow(unit, weight),
        angle=float(angle),
    )


def _flow(unit: np.ndarray[Any, Any], weight: Array) -> float:
    """Mean agreement of neighboring cells, weighted by both coherences."""
    agree, mass = 0.0, 1e-6
    for near, far in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        both = weight[near] * weight[far]
        agree += float((both * (unit[near] * unit[far].conj()).real).sum())
        mass += float(both.sum())
    return agree / mass
