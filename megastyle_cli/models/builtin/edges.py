"""Edge sharpness, dark outlines and brush strokes, from the gradient of an image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from megastyle_cli.models.builtin.working_image import Array, Mask, WorkingImage, block_means

CELL_PX = 8


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
