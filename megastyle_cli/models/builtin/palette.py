"""The colors of an image: its tone, and clusters in CIELAB, named by the color table."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from megastyle_cli.core.style import ATTRIBUTES, nearest_color
from megastyle_cli.models.builtin.working_image import (
    Array,
    WorkingImage,
    srgb_to_lab_by_table,
)

CLUSTERS = 10
ROUNDS = 5
DOMINANT_SHARE = 0.12  # of the area, for a second color to be named beside the largest
ACCENT_SHARE = 0.008

# The upper end of each hue, in degrees of the CIELAB hue circle.
_HUES = (
    (5, "pink"),
    (45, "red"),
    (80, "orange"),
    (105, "yellow"),
    (165, "green"),
    (220, "teal"),
    (308, "blue"),
    (335, "purple"),
    (361, "pink"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Swatch:
    """One named color: its mean (L, a, b) and its share of the area in [0, 1]."""

    name: str
    lab: Array
    share: float


def describe_tone(image: WorkingImage) -> str:
    """One word for the lightness, chroma or hue of the foreground, from every fourth pixel."""
    lab, foreground = image.lab[::2, ::2], image.foreground[::2, ::2]
    inside = lab[foreground] if foreground.any() else lab.reshape(-1, 3)
    chroma = np.hypot(inside[:, 1], inside[:, 2])
    lightness, strength = float(inside[:, 0].mean()), float(chroma.mean())
    if np.count_nonzero(chroma < 5) > int(chroma.size * 0.95):
        return "monochrome"
    if lightness < 33:
        return "dark"
    a, b = float(inside[:, 1].mean()), float(inside[:, 2].mean())
    if strength > 12 and np.hypot(a, b) > 0.85 * strength:
        return f"{_hue(lightness, a, b)}-toned"
    if strength > 38:
        return "vivid"
    if lightness > 72 and strength < 25:
        return "pale"
    return "muted" if strength < 18 else "colorful"


def _hue(lightness: float, a: float, b: float) -> str:
    """The hue of a CIELAB color in one word; dark orange and yellow are brown."""
    degrees = float(np.degrees(np.arctan2(b, a))) % 360
    if 50 <= degrees < 100 and lightness < 60:
        return "brown"
    return next(name for end, name in _HUES if degrees < end)


def swatches(image: WorkingImage) -> list[Swatch]:
    """The colors of an image by descending share; shares sum to 1, names are unique."""
    bins, counts = _histogram(image)
    centers, shares = _clusters(bins, counts)
    named: dict[str, list[int]] = {}
    for number, center in enumerate(centers):
        name = nearest_color((float(center[0]), float(center[1]), float(center[2])))
        named.setdefault(name, []).append(number)
    merged = [
        Swatch(
            name=name,
            lab=_mean(centers[rows], shares[rows]),
            share=float(shares[rows].sum()),
        )
        for name, rows in named.items()
    ]
    return sorted(merged, key=lambda swatch: -swatch.share)


def _mean(values: Array, weights: Array) -> Array:
    """The mean (3,) of `values` (n, 3): np.average, in a third of its time."""
    mean: Array = (values * weights[:, None]).sum(axis=0) / weights[:, None].sum(axis=0)
    return mean


def name_palette(colors: list[Swatch]) -> tuple[str, str | None]:
    """One or two dominant colors and one, two or no (None) accents, each of 4 words at most.

    An accent is small but salient: far in CIELAB from the dominant colors, weighted by area.
    """
    dominant = colors[:1] + _second_dominant(colors)
    others = [swatch for swatch in colors if swatch not in dominant]
    weights = [_salience(swatch, dominant) for swatch in others]
    ranked = sorted(range(len(others)), key=lambda number: -weights[number])[:2]
    accents = [others[n] for n in ranked if weights[n] > 0 and weights[n] >= 0.6 * max(weights)]
    return _joined(dominant), _joined(accents) if accents else None


def _second_dominant(colors: list[Swatch]) -> list[Swatch]:
    """The color to name beside the largest: large, and no shade of it; none if all are small."""
    large = [swatch for swatch in colors[1:] if swatch.share >= DOMINANT_SHARE]
    if not large:
        return []
    return [max(large, key=lambda swatch: swatch.share * min(_distance(swatch, colors[0]), 30))]


def _distance(one: Swatch, other: Swatch) -> float:
    return float(np.sqrt(((one.lab - other.lab) ** 2).sum()))


def _salience(swatch: Swatch, dominant: list[Swatch]) -> float:
    """How strongly a small color stands out; 0 if too small, or near a dominant color."""
    distance = min(_distance(swatch, other) for other in dominant)
    if swatch.share < ACCENT_SHARE or distance < 22:
        return 0.0
    chroma = float(np.hypot(swatch.lab[1], swatch.lab[2]))
    return (distance + chroma) * math.pow(min(swatch.share, 0.15), 0.4)


def _joined(colors: list[Swatch]) -> str:
    """One or two names; the second is shortened or left out to keep to four words."""
    names = [swatch.name for swatch in colors]
    if len(" and ".join(names).split()) > ATTRIBUTES["colors"].max_words:
        short = names[1].split()[-1]
        names[1:] = [] if short in names[0].split() else [short]
    return " and ".join(names)


def _histogram(image: WorkingImage) -> tuple[Array, Array]:
    """The colors that occur, at 5 bits per channel: CIELAB (n, 3) and pixel counts (n,)."""
    counts = image.color_counts
    found = np.flatnonzero(counts)
    channels = np.stack([found >> 10, (found >> 5) & 31, found & 31], axis=-1)
    # 0..31 to 0..255 with both ends exact, so that white stays white.
    rgb = (channels * 255 + 15) // 31
    return srgb_to_lab_by_table(rgb.astype(np.uint8)), counts[found].astype(np.float32)


def _clusters(points: Array, counts: Array) -> tuple[Array, Array]:
    """Weighted k-means: centers (k, 3) and area shares (k,), k at most CLUSTERS, none empty.

    Starts from the most frequent color and adds the one farthest from all chosen, weighted by
    the square root of its count; nothing is random, ties go to the lower row.
    """
    weight = np.sqrt(counts)
    rows = [int(counts.argmax())]
    gap = _squares(points, points[rows[0]])
    while len(rows) < min(CLUSTERS, len(points)):
        rows.append(int((gap * weight).argmax()))
        np.minimum(gap, _squares(points, points[rows[-1]]), out=gap)
    centers = points[rows]
    weighted = np.ascontiguousarray((points * counts[:, None]).T)
    for _ in range(ROUNDS):
        member = _nearest(points, centers)
        mass = np.bincount(member, counts, minlength=len(centers))
        sums = [np.bincount(member, axis, minlength=len(centers)) for axis in weighted]
        used = mass > 0
        centers = (np.stack(sums, axis=1)[used] / mass[used, None]).astype(np.float32)
    mass = np.bincount(_nearest(points, centers), counts, minlength=len(centers))
    return centers[mass > 0], (mass[mass > 0] / mass.sum()).astype(np.float32)


def _nearest(points: Array, centers: Array) -> np.ndarray[Any, Any]:
    """The row of the nearest center for each point, (n,)."""
    member = np.zeros(len(points), dtype=np.uint8)
    least = _squares(points, centers[0])
    for number in range(1, len(centers)):
        squares = _squares(points, centers[number])
        np.copyto(member, number, where=squares < least)
        np.minimum(least, squares, out=least)
    return member.astype(np.intp)


def _squares(points: Array, center: Array) -> Array:
    """The squared distance of each point to a center, (n,)."""
    # Not by inner products: their rounding depends on the BLAS library.
    gaps = points.T - center[:, None]  # (3, n)
    gaps *= gaps
    total: Array = gaps[0]
    total += gaps[1]
    total += gaps[2]
    return total
