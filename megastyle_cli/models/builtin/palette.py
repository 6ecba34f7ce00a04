"""The colours of a picture: clusters in CIELAB, named against the colour table."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from megastyle_cli.core.style import WORD_LIMITS, nearest_color
from megastyle_cli.models.builtin.canvas import Array, Canvas, to_lab

CLUSTERS = 10
ROUNDS = 5
DOMINANT_SHARE = 0.12  # of the picture's area, to be named beside the largest colour
ACCENT_SHARE = 0.008


@dataclass(frozen=True, kw_only=True, eq=False)
class Swatch:
    """One named colour: its mean (L, a, b) and its share of the picture's area in [0, 1]."""

    name: str
    lab: Array
    share: float


def swatches(canvas: Canvas) -> list[Swatch]:
    """The picture's colours by falling share; the shares sum to 1, no name comes twice."""
    bins, counts = _histogram(canvas)
    centers, shares = _clusters(bins, counts)
    named: dict[str, list[int]] = {}
    for number, center in enumerate(centers):
        name = nearest_color((float(center[0]), float(center[1]), float(center[2])))
        named.setdefault(name, []).append(number)
    merged = [
        Swatch(
            name=name,
            lab=np.average(centers[rows], axis=0, weights=shares[rows]),
            share=float(shares[rows].sum()),
        )
        for name, rows in named.items()
    ]
    return sorted(merged, key=lambda swatch: -swatch.share)


def name_palette(colors: list[Swatch]) -> tuple[str, str | None]:
    """One or two dominant colours and one, two or no (None) accents, each of 4 words at most.

    An accent is small but stands out: far in CIELAB from the dominant colours, weighed by area.
    """
    dominant = colors[:1] + _second(colors)
    others = [swatch for swatch in colors if swatch not in dominant]
    weights = [_standing_out(swatch, dominant) for swatch in others]
    ranked = sorted(range(len(others)), key=lambda number: -weights[number])[:2]
    accents = [others[n] for n in ranked if weights[n] > 0 and weights[n] >= 0.6 * max(weights)]
    return _joined(dominant), _joined(accents) if accents else None


def _second(colors: list[Swatch]) -> list[Swatch]:
    """The colour to name beside the largest: large, and no shade of it; none if all are small."""
    large = [swatch for swatch in colors[1:] if swatch.share >= DOMINANT_SHARE]
    if not large:
        return []
    return [max(large, key=lambda swatch: swatch.share * min(_gap(swatch, colors[0]), 30))]


def _gap(one: Swatch, other: Swatch) -> float:
    return float(np.sqrt(((one.lab - other.lab) ** 2).sum()))


def _standing_out(swatch: Swatch, dominant: list[Swatch]) -> float:
    """How strongly a small colour meets the eye; 0 if too small, or near a dominant colour."""
    distance = min(_gap(swatch, other) for other in dominant)
    if swatch.share < ACCENT_SHARE or distance < 22:
        return 0.0
    chroma = float(np.hypot(swatch.lab[1], swatch.lab[2]))
    return (distance + chroma) * math.pow(min(swatch.share, 0.15), 0.4)


def _joined(colors: list[Swatch]) -> str:
    """One or two names; the second is shortened to its last word or left out to keep four words."""
    names = [swatch.name for swatch in colors]
    if len(" and ".join(names).split()) > WORD_LIMITS["colors"]:
        short = names[1].split()[-1]
        names[1:] = [] if short in names[0].split() else [short]
    return " and ".join(names)


def _histogram(canvas: Canvas) -> tuple[Array, Array]:
    """The colours that occur, at 5 bits a channel: CIELAB (n, 3) and pixel counts (n,)."""
    top = (canvas.rgb >> 3).astype(np.int32)
    codes = (top[..., 0] << 10) | (top[..., 1] << 5) | top[..., 2]
    counts = np.bincount(codes.ravel(), minlength=1 << 15)
    found = np.flatnonzero(counts)
    channels = np.stack([found >> 10, (found >> 5) & 31, found & 31], axis=-1)
    # 0..31 to 0..255 with both ends exact, so that white stays white.
    rgb = (channels * 255 + 15) // 31
    return to_lab(rgb.astype(np.uint8)), counts[found].astype(np.float32)


def _clusters(points: Array, counts: Array) -> tuple[Array, Array]:
    """Weighted k-means: centers (k, 3) and area shares (k,), k at most CLUSTERS, none empty.

    Starts from the most frequent colour and adds the one farthest from all chosen, weighed by
    the square root of its count; no random draw, ties to the lower row.
    """
    weight = np.sqrt(counts)
    rows = [int(counts.argmax())]
    gap = ((points - points[rows[0]]) ** 2).sum(axis=1)
    while len(rows) < min(CLUSTERS, len(points)):
        rows.append(int((gap * weight).argmax()))
        gap = np.minimum(gap, ((points - points[rows[-1]]) ** 2).sum(axis=1))
    centers = points[rows]
    weighted = (points * counts[:, None]).T
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
    # Not by inner products: their rounding depends on the linear algebra library.
    gaps = points.T[:, None, :] - centers.T[:, :, None]  # (3, k, n)
    squares: Array = gaps[0] * gaps[0] + gaps[1] * gaps[1] + gaps[2] * gaps[2]
    member = np.zeros(len(points), dtype=np.intp)
    least = squares[0].copy()
    for number in range(1, len(centers)):
        closer = squares[number] < least
        member[closer] = number
        np.minimum(least, squares[number], out=least)
    return member
