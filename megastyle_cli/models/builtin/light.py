"""Where the light of a picture comes from, and how brightness changes over it."""

import numpy as np

from megastyle_cli.models.builtin.canvas import Array, Canvas

CELLS = 12  # the picture is read as at most CELLS x CELLS mean brightnesses
TILT = 14.0  # L from one side to the other that counts as a direction
_COURSES = (
    "right-to-left",
    "lower-right",
    "bottom-up",
    "lower-left",
    "left-to-right",
    "upper-left",
    "top-down",
    "upper-right",
)


def describe_light(canvas: Canvas) -> str:
    """Level, contrast, spread and direction, at most 8 words, to stand before "lighting".

    For example "dim high-contrast gradual left-to-right", or "flat unshaded": a picture of plain
    areas has shapes, but no light that falls on them.
    """
    if unshaded(canvas):
        return "flat unshaded"
    cells, weight = _cells(canvas)
    words = [_level(canvas), _contrast(canvas), *_spread(cells, weight)]
    return " ".join(word for word in words if word)


def unshaded(canvas: Canvas) -> bool:
    """Whether nearly every pixel of the figure lies in a plain area or on a hard edge."""
    steep = canvas.steep[canvas.figure]
    if steep.size == 0:
        return True
    return bool(((steep > 0.2) & (steep < 3)).mean() < 0.12)


def _level(canvas: Canvas) -> str:
    middle = float(canvas.lightness[canvas.figure].mean())
    for bound, word in ((22, "very dim"), (38, "dim"), (66, "mid-toned"), (80, "bright")):
        if middle < bound:
            return word
    return "very bright"


def _contrast(canvas: Canvas) -> str:
    values = canvas.lightness[canvas.figure]
    spread = float(values.std())
    if spread < 12:
        return "low-contrast"
    return "high-contrast" if spread > 23 else ""


def _cells(canvas: Canvas) -> tuple[Array, Array]:
    """Mean L of the figure in a grid of cells, and the figure's share of each cell."""
    height, width = canvas.lightness.shape
    rows = np.linspace(0, height, min(CELLS, height) + 1).astype(np.intp)[:-1]
    columns = np.linspace(0, width, min(CELLS, width) + 1).astype(np.intp)[:-1]

    def total(values: Array) -> Array:
        sums: Array = np.add.reduceat(np.add.reduceat(values, columns, axis=1), rows, axis=0)
        return sums

    figure = canvas.figure.astype(np.float32)
    pixels = total(np.ones_like(figure))
    weight = total(figure)
    cells: Array = total(canvas.lightness * figure)
    cells = (cells / np.maximum(weight, 1)).astype(np.float32)
    shares: Array = weight / pixels
    return cells, shares


def _spread(cells: Array, weight: Array) -> list[str]:
    """Direction and course: a tilted plane, a bright or dark middle, patches, or evenness."""
    rows, columns = cells.shape
    y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None] + np.zeros_like(cells)
    x = np.linspace(-1, 1, columns, dtype=np.float32)[None, :] + np.zeros_like(cells)
    down, across, explained, rest = _plane(cells, weight, y, x)
    inner = (np.abs(x) < 0.5) & (np.abs(y) < 0.5)
    bulge = _mean(cells, weight * inner) - _mean(cells, weight * ~inner)
    tilt = 2 * float(np.hypot(across, down))
    if tilt >= TILT and explained >= 0.25:
        sector = round(float(np.arctan2(down, across)) / (np.pi / 4)) % 8
        course = "gradual" if explained >= 0.6 else "uneven"
        return [f"{course} {_COURSES[sector]}"]
    if abs(bulge) > 11:
        return ["center-weighted" if bulge > 0 else "dark-centered"]
    return ["patchy"] if rest > 13 else ["even"] if rest < 8 else ["scattered"]


def _plane(cells: Array, weight: Array, y: Array, x: Array) -> tuple[float, float, float, float]:
    """The weighted plane: slopes down and across, variance explained, standard deviation."""
    mass = float(weight.sum())
    if mass < 1e-3:
        return 0.0, 0.0, 0.0, 0.0
    dx, dy = x - (weight * x).sum() / mass, y - (weight * y).sum() / mass
    dl = cells - (weight * cells).sum() / mass
    xx, yy, xy = ((weight * p * q).sum() for p, q in ((dx, dx), (dy, dy), (dx, dy)))
    xl, yl, ll = ((weight * p * dl).sum() for p in (dx, dy, dl))
    across, down = (yy * xl - xy * yl), (xx * yl - xy * xl)
    area = max(float(xx * yy - xy * xy), 1e-9)
    across, down = across / area, down / area
    explained = float((across * xl + down * yl) / max(float(ll), 1e-9))
    return float(down), float(across), explained, float(np.sqrt(ll / mass))


def _mean(cells: Array, weight: Array) -> float:
    return float((cells * weight).sum() / max(float(weight.sum()), 1e-3))
