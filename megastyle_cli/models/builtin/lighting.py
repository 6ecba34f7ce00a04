"""The direction of the light in an image, and how brightness varies over it."""

import numpy as np

from megastyle_cli.models.builtin.working_image import Array, WorkingImage, share

CELLS = 12  # brightness is averaged over at most CELLS x CELLS cells
TILT = 14.0  # minimum change of L from one side to the other for a direction
_DIRECTIONS = (
    "right-to-left",
    "lower-right",
    "bottom-up",
    "lower-left",
    "left-to-right",
    "upper-left",
    "top-down",
    "upper-right",
)


def describe_light(image: WorkingImage) -> str:
    """Level, contrast, distribution and direction, at most 8 words, to precede "lighting".

    For example "dim high-contrast gradual left-to-right", or "flat unshaded" for an image of
    uniform areas, whose shapes are not lit.
    """
    if is_unshaded(image):
        return "flat unshaded"
    cells, weight = _cells(image)
    words = [_level(image), _contrast(image), *_distribution(cells, weight)]
    return " ".join(word for word in words if word)


def is_unshaded(image: WorkingImage) -> bool:
    """Whether nearly every foreground pixel lies in a uniform area or on a hard edge."""
    gradient = image.inside(image.gradient)
    if gradient.size == 0:
        return True
    return share((gradient > 0.2) & (gradient < 3)) < 0.12


def _level(image: WorkingImage) -> str:
    mean = float(image.inside(image.lightness).mean())
    for bound, word in ((22, "very dim"), (38, "dim"), (66, "mid-toned"), (80, "bright")):
        if mean < bound:
            return word
    return "very bright"


def _contrast(image: WorkingImage) -> str:
    values = image.inside(image.lightness)
    spread = float(values.std())
    if spread < 12:
        return "low-contrast"
    return "high-contrast" if spread > 23 else ""


def _cells(image: WorkingImage) -> tuple[Array, Array]:
    """Mean L of the foreground in a grid of cells, and its share of each cell."""
    height, width = image.lightness.shape
    rows = np.linspace(0, height, min(CELLS, height) + 1).astype(np.intp)[:-1]
    columns = np.linspace(0, width, min(CELLS, width) + 1).astype(np.intp)[:-1]

    def total(values: Array) -> Array:
        sums: Array = np.add.reduceat(np.add.reduceat(values, columns, axis=1), rows, axis=0)
        return sums

    foreground = image.foreground.astype(np.float32)
    pixels = total(np.ones_like(foreground))
    weight = total(foreground)
    cells: Array = total(image.lightness * foreground)
    cells = (cells / np.maximum(weight, 1)).astype(np.float32)
    shares: Array = weight / pixels
    return cells, shares


def _distribution(cells: Array, weight: Array) -> list[str]:
    """A gradient with its direction, a bright or dark center, patches, or evenness."""
    rows, columns = cells.shape
    y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None] + np.zeros_like(cells)
    x = np.linspace(-1, 1, columns, dtype=np.float32)[None, :] + np.zeros_like(cells)
    slope_y, slope_x, explained, deviation = _fit_plane(cells, weight, y, x)
    inner = (np.abs(x) < 0.5) & (np.abs(y) < 0.5)
    bulge = _mean(cells, weight * inner) - _mean(cells, weight * ~inner)
    tilt = 2 * float(np.hypot(slope_x, slope_y))
    if tilt >= TILT and explained >= 0.25:
        sector = round(float(np.arctan2(slope_y, slope_x)) / (np.pi / 4)) % 8
        evenness = "gradual" if explained >= 0.6 else "uneven"
        return [f"{evenness} {_DIRECTIONS[sector]}"]
    if abs(bulge) > 11:
        return ["center-weighted" if bulge > 0 else "dark-centered"]
    return ["patchy"] if deviation > 13 else ["even"] if deviation < 8 else ["scattered"]


def _fit_plane(
    cells: Array, weight: Array, y: Array, x: Array
) -> tuple[float, float, float, float]:
    """The weighted least-squares plane: slopes along y and x, variance explained, deviation."""
    mass = float(weight.sum())
    if mass < 1e-3:
        return 0.0, 0.0, 0.0, 0.0
    dx, dy = x - (weight * x).sum() / mass, y - (weight * y).sum() / mass
    dl = cells - (weight * cells).sum() / mass
    xx, yy, xy = ((weight * p * q).sum() for p, q in ((dx, dx), (dy, dy), (dx, dy)))
    xl, yl, ll = ((weight * p * dl).sum() for p in (dx, dy, dl))
    slope_x, slope_y = (yy * xl - xy * yl), (xx * yl - xy * xl)
    area = max(float(xx * yy - xy * xy), 1e-9)
    slope_x, slope_y = slope_x / area, slope_y / area
    explained = float((slope_x * xl + slope_y * yl) / max(float(ll), 1e-9))
    return float(slope_y), float(slope_x), explained, float(np.sqrt(ll / mass))


def _mean(cells: Array, weight: Array) -> float:
    return float((cells * weight).sum() / max(float(weight.sum()), 1e-3))
