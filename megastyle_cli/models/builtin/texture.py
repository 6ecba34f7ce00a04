"""The local structure of an image: roughness, grain and repeating patterns; edge sharpness, dark
outlines and brush strokes, from its gradient."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from megastyle_cli.models.builtin.working_image import Array, Mask, WorkingImage, block_means

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
        flat=float((image.gradient < 0.25).mean()),
        rough=float((cells > ROUGH * ROUGH).mean()),
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
    correlation = _autocorrelation(_high_pass(grid))
    along_x, along_y = _period(correlation[0]), _period(correlation[:, 0])
    if along_x and along_y:
        return "checkered grid"
    if along_x and correlation[: len(correlation) // 4, 0].min() > 0.5:
        return "vertical stripes"
    if along_y and correlation[0, : correlation.shape[1] // 4].min() > 0.5:
        return "horizontal stripes"
    return None


def _octave(values: Array) -> tuple[Array, Array]:
    """The finest detail (2m, 2n) and the half-size mean (m, n), without odd rows and columns."""
    rows, columns = (side // 2 for side in values.shape)
    even = values[: rows * 2, : columns * 2]
    half: Array = (
        even[::2, ::2] + even[::2, 1::2] + even[1::2, ::2] + even[1::2, 1::2]
    ) * np.float32(0.25)
    fine: Array = even - half.repeat(2, axis=0).repeat(2, axis=1)
    return fine, half


def _high_pass(grid: Array) -> Array:
    """`grid` minus its mean over a window of a quarter of the short side."""
    reach = min(grid.shape) // 8
    slow: np.ndarray[Any, Any] = grid
    for axis in (0, 1):
        pad = [(reach + 1, reach) if a == axis else (0, 0) for a in (0, 1)]
        sums = np.cumsum(np.pad(slow, pad, mode="reflect"), axis=axis, dtype=np.float64)
        size = grid.shape[axis]
        ends = np.take(sums, np.arange(2 * reach + 1, 2 * reach + 1 + size), axis=axis)
        starts = np.take(sums, np.arange(size), axis=axis)
        slow = (ends - starts) / (2 * reach + 1)
    rest: Array = grid - slow.astype(np.float32)
    return rest


def _autocorrelation(grid: Array) -> Array:
    """Autocorrelation (m, n) at each lag down and right up to half the grid; 1 at lag 0."""
    rows, columns = grid.shape

    def products(values: Array) -> np.ndarray[Any, Any]:
        spectrum = np.fft.rfft2(values, s=(2 * rows, 2 * columns))
        power = (spectrum * spectrum.conj()).real
        return np.fft.irfft2(power, s=(2 * rows, 2 * columns))[: rows // 2, : columns // 2]

    left = np.arange(rows, rows - rows // 2, -1)[:, None] * np.arange(
        columns, columns - columns // 2, -1
    )
    mean = products(grid) / left
    correlation: Array = (mean / max(float(mean[0, 0]), 1e-6)).astype(np.float32)
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


def window(values: Array, reach: int, pick: Callable[[Array, Array], Array]) -> Array:
    """The maximum (np.maximum) or minimum (np.minimum) of each square window.

    A window extends `reach` pixels to each side.
    """
    for axis in (0, 1):
        lines = np.moveaxis(values, axis, 0)
        wide = np.concatenate([lines[:1].repeat(reach, 0), lines, lines[-1:].repeat(reach, 0)])
        covered, size = 1, 2 * reach + 1
        while covered < size:
            step = min(covered, size - covered)
            wide = pick(wide[:-step], wide[step:])
            covered += step
        values = np.moveaxis(wide, 0, axis)
    return values


def edge_width(image: WorkingImage) -> float | None:
    """The width in pixels (of 256) of the steepest edges; None without edges."""
    gradient = image.gradient.ravel()
    rank = int(gradient.size * 0.98)
    bound = float(np.partition(gradient, rank)[rank])
    if bound < 1.0:
        return None
    steepest = image.gradient >= bound
    lightness = np.rint(image.lightness * 2.55).astype(np.uint8)
    span = window(lightness, 6, np.maximum) - window(lightness, 6, np.minimum)
    return float(np.median(span[steepest] / image.gradient[steepest])) / 2.55


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
    lightness = np.rint(image.lightness * 2.55).astype(np.uint8)
    depth = _top_hat(lightness, reach)
    lines: Mask = depth > MIN_DEPTH
    area = float(lines.mean())
    if area < 0.004:
        return None
    # A line has two borders along its length: its width is twice its area over its border.
    border = int((lines & (window(lines.astype(np.uint8), 1, np.minimum) == 0)).sum())
    near = window(lines.astype(np.uint8), 2, np.maximum) > 0
    strong = image.gradient > 8
    sides = (window(lines.astype(np.uint8), 5, np.maximum) > 0) & ~near
    deep = lines & (depth > 0.7 * depth.max())
    return Outline(
        coverage=float((strong & near).sum() / max(int(strong.sum()), 1)),
        tidiness=float((image.gradient[sides] < 3).mean()) if sides.any() else 0.0,
        area=area,
        width=2 * area * lines.size / border / max(lines.shape),
        lab=np.median(image.lab[deep], axis=0),
    )


def _top_hat(lightness: Array, reach: int) -> Array:
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
        share=float(textured.mean()),
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
