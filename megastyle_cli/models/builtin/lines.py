"""Edges, dark outlines and strokes: what the slopes of a picture say."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from megastyle_cli.models.builtin.canvas import Array, Canvas, Mask, block_means

CELL_PX = 8


def window(values: Array, reach: int, pick: Callable[[Array, Array], Array]) -> Array:
    """The largest (np.maximum) or smallest (np.minimum) value within a square of `reach` pixels."""
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


def edge_width(canvas: Canvas) -> float | None:
    """How many pixels (of 256) the steepest edges take from dark to light; None without edges."""
    steep = canvas.steep.ravel()
    rank = int(steep.size * 0.98)
    bound = float(np.partition(steep, rank)[rank])
    if bound < 1.0:
        return None
    at = canvas.steep >= bound
    lightness = np.rint(canvas.lightness * 2.55).astype(np.uint8)
    span = window(lightness, 6, np.maximum) - window(lightness, 6, np.minimum)
    return float(np.median(span[at] / canvas.steep[at])) / 2.55


def describe_edges(canvas: Canvas) -> str | None:
    """ "sharp", "soft", or None in between and where there are no edges."""
    width = edge_width(canvas)
    if width is None:
        return None
    return "sharp" if width < 2.5 else "soft" if width > 4 else None


@dataclass(frozen=True, kw_only=True)
class Outline:
    """Dark lines between lighter areas.

    `coverage` is the share of strong edges that lie on such a line, `tidiness` the share of plain
    pixels beside the lines, `area` of the lines in the picture, `width` as a share of the long
    side, `lab` (3,) the lines' colour.
    """

    coverage: float
    tidiness: float
    area: float
    width: float
    lab: Array


DEPTH = 50  # of 255: how much darker than both sides a line is


def measure_outline(canvas: Canvas, reach: int) -> Outline | None:
    """Dark lines up to twice `reach` px wide; None if there are none.

    Source: the black top-hat transform of mathematical morphology.
    """
    # Bytes: rank filters need order only, and are several times faster on them.
    lightness = np.rint(canvas.lightness * 2.55).astype(np.uint8)
    filled = _filled(lightness, reach)
    lines: Mask = filled > DEPTH
    area = float(lines.mean())
    if area < 0.004:
        return None
    # A line has two rims along its length, so its width is twice its area over its rims.
    rims = int((lines & (window(lines.astype(np.uint8), 1, np.minimum) == 0)).sum())
    near = window(lines.astype(np.uint8), 2, np.maximum) > 0
    strong = canvas.steep > 8
    sides = (window(lines.astype(np.uint8), 5, np.maximum) > 0) & ~near
    deep = lines & (filled > 0.7 * filled.max())
    return Outline(
        coverage=float((strong & near).sum() / max(int(strong.sum()), 1)),
        tidiness=float((canvas.steep[sides] < 3).mean()) if sides.any() else 0.0,
        area=area,
        width=2 * area * lines.size / rims / max(lines.shape),
        lab=np.median(canvas.lab[deep], axis=0),
    )


def _filled(lightness: Array, reach: int) -> Array:
    """How much a closing brightens each pixel: dark lines up to 2 * reach px wide are filled."""
    closed = window(window(lightness, reach, np.maximum), reach, np.minimum)
    return closed - lightness


@dataclass(frozen=True, kw_only=True)
class Strokes:
    """Oriented texture in cells of 8 px.

    `share` of cells with texture, their mean `coherence` in [0, 1] (1: all slopes on one axis),
    `agreement` in [0, 1] of the directions over the picture, `flow` in [-1, 1] between neighbours,
    `angle` the common direction of the strokes in radians [0, pi), 0 is horizontal.
    """

    share: float
    coherence: float
    agreement: float
    flow: float
    angle: float


def measure_strokes(canvas: Canvas) -> Strokes:
    """The structure tensor of each cell, and how the cells' directions go together."""
    across, down = canvas.across, canvas.down
    products = (across * across, down * down, across * down)
    xx, yy, xy = (block_means(product, CELL_PX) for product in products)
    energy = xx + yy
    doubled = (xx - yy) + 2j * xy
    coherence = np.abs(doubled) / np.maximum(energy, 1e-6)
    textured = energy > 4.0
    weight = np.where(textured, coherence, 0)
    unit = doubled / np.maximum(np.abs(doubled), 1e-6)
    total = complex((weight * unit).sum())
    mass = max(float(weight.sum()), 1e-6)
    # The gradient crosses the stroke: a right angle, so half a turn of the doubled angle.
    angle = (np.angle(-total) / 2) % np.pi
    return Strokes(
        share=float(textured.mean()),
        coherence=float(weight.sum() / max(int(textured.sum()), 1)),
        agreement=abs(total) / mass,
        flow=_flow(unit, weight),
        angle=float(angle),
    )


def _flow(unit: np.ndarray[Any, Any], weight: Array) -> float:
    """Mean agreement of neighbouring cells, weighed by both coherences."""
    agree, mass = 0.0, 1e-6
    for near, far in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        both = weight[near] * weight[far]
        agree += float((both * (unit[near] * unit[far].conj()).real).sum())
        mass += float(both.sum())
    return agree / mass
