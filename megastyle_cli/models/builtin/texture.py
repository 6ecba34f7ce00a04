"""The surface of a picture: roughness, its grain, and patterns that repeat."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from megastyle_cli.models.builtin.canvas import Array, Canvas, block_means

ROUGH = 2.0  # L, root mean square of the finest octave in a cell
REPEATS = 0.35  # autocorrelation at one period, for a pattern to be named
_SIDE = 96  # pixels of the grid on which repetition is sought


@dataclass(frozen=True, kw_only=True)
class Roughness:
    """`flat`: share of pixels on plain areas; `rough`: share of 8 px cells with texture;
    `fineness`: the finest octave's energy over the next one's (near 1 for grain)."""

    flat: float
    rough: float
    fineness: float


def measure_roughness(canvas: Canvas) -> Roughness:
    """How much of the picture is plain, how much is textured, and how fine the texture is."""
    fine, half = _octave(canvas.lightness)
    coarse, _ = _octave(half)
    power = block_means(fine * fine, 2)
    cells = block_means(power, 4)
    next_power = max(float((coarse * coarse).mean()), 1e-6)
    return Roughness(
        flat=float((canvas.steep < 0.25).mean()),
        rough=float((cells > ROUGH * ROUGH).mean()),
        fineness=float(np.sqrt(power.mean() / next_power)),
    )


def describe_surface(roughness: Roughness) -> str:
    """At most 4 words without a comma, to stand before "surface"."""
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


def describe_pattern(canvas: Canvas) -> str | None:
    """What repeats over the picture: stripes by direction, or a grid; None if nothing does.

    The mean product of the lightness (without its slow part) with itself, moved by each lag up to
    half the picture; a pattern is a second peak, away from no movement at all.
    """
    height, width = canvas.lightness.shape
    step = -(-max(height, width) // _SIDE)
    grid = block_means(canvas.lightness, step)
    if min(grid.shape) < 16 or grid.std() < 3:
        return None
    likeness = _autocorrelation(_without_slow_part(grid))
    along_x, along_y = _period(likeness[0]), _period(likeness[:, 0])
    if along_x and along_y:
        return "checkered grid"
    if along_x and likeness[: len(likeness) // 4, 0].min() > 0.5:
        return "vertical stripes"
    if along_y and likeness[0, : likeness.shape[1] // 4].min() > 0.5:
        return "horizontal stripes"
    return None


def _octave(values: Array) -> tuple[Array, Array]:
    """The finest detail and the half-size mean that is left, odd rims cut: (2m, 2n) and (m, n)."""
    rows, columns = (side // 2 for side in values.shape)
    even = values[: rows * 2, : columns * 2]
    half: Array = (
        even[::2, ::2] + even[::2, 1::2] + even[1::2, ::2] + even[1::2, 1::2]
    ) * np.float32(0.25)
    fine: Array = even - half.repeat(2, axis=0).repeat(2, axis=1)
    return fine, half


def _without_slow_part(grid: Array) -> Array:
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
    """Mean product at each lag down and right up to half the grid, 1 at no lag, (m, n)."""
    rows, columns = grid.shape

    def products(values: Array) -> np.ndarray[Any, Any]:
        spectrum = np.fft.rfft2(values, s=(2 * rows, 2 * columns))
        power = (spectrum * spectrum.conj()).real
        return np.fft.irfft2(power, s=(2 * rows, 2 * columns))[: rows // 2, : columns // 2]

    left = np.arange(rows, rows - rows // 2, -1)[:, None] * np.arange(
        columns, columns - columns // 2, -1
    )
    mean = products(grid) / left
    likeness: Array = (mean / max(float(mean[0, 0]), 1e-6)).astype(np.float32)
    return likeness


def _period(likeness: Array) -> int | None:
    """The lag of the first strong peak after a true dip, if it comes again at twice the lag."""
    dips = np.flatnonzero(likeness < -0.1)
    if dips.size == 0 or likeness[dips[0] :].max() < REPEATS:
        return None
    after = likeness[dips[0] :]
    start = int(np.flatnonzero(after >= 0.9 * after.max())[0])
    lag = int(dips[0]) + start + int(after[start : start + 4].argmax())
    again = likeness[2 * lag - 2 : 2 * lag + 3]
    return lag if again.size and again.max() >= REPEATS else None
