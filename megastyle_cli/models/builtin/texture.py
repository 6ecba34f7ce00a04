"""The surface of an image: roughness, grain, and repeating patterns."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from megastyle_cli.models.builtin.working_image import Array, WorkingImage, block_means

ROUGH = 2.0  # L, root mean square of the finest octave in a rough cell
MIN_AUTOCORRELATION = 0.35  # at one period, for a pattern to be named
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
