"""Plots as inline SVG that stretch with the page; their labels are text beside them.

No element carries a style of its own, since the page's policy would refuse it: colours and dashes
are classes of report.css.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from megastyle_cli.report.rows import format_number

Values = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

NUM_SERIES = 4  # that report.css can tell apart, by colour and by dash
NUM_BINS = 48  # about: whole ones between two ticks
STRETCHED = 'viewBox="0 0 100 100" preserveAspectRatio="none"'


@dataclass(frozen=True, kw_only=True)
class Axis:
    """From `low` to `high` in `steps` equal steps."""

    low: float
    high: float
    steps: int

    def at(self, value: float) -> str:
        """Where `value` lies, in percent of the axis; its nearer end if it lies outside."""
        share = (value - self.low) / (self.high - self.low)
        return f"{100 * min(max(share, 0), 1):.2f}"

    @property
    def ticks(self) -> list[float]:
        """The values at the steps, both ends included."""
        return [self.low + step * (self.high - self.low) / self.steps for step in self.range]

    @property
    def range(self) -> range:
        """The numbers of the ticks."""
        return range(self.steps + 1)


def round_axis(low: float, high: float, most: int) -> Axis:
    """From `low` to `high` or a little beyond, in `most` round steps or fewer.

    Round is 1, 2 or 5 times a power of ten; of those the finest.
    """
    span = max(high - low, 1e-3)
    power = 10.0 ** math.floor(math.log10(span / most))
    for step in (power * times for times in (1, 2, 5, 10, 20)):
        # A hair inwards, so that an edge that is round already stays.
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if max(last - first, 1) <= most:
            break
    last = max(last, first + 1)
    return Axis(low=first * step, high=last * step, steps=last - first)


def histograms(samples: Mapping[str, Sequence[float]], unit: str) -> str:
    """Histograms over one another with a table of their numbers; "" if there is nothing to draw.

    A height is the share of the sample in the bin, so that samples of any size compare. `unit` says
    what the values are. Values that are not finite are omitted.
    """
    known = {name: np.asarray(values, np.float64) for name, values in samples.items()}
    known = {name: values[np.isfinite(values)] for name, values in known.items()}
    known = {name: values for name, values in known.items() if len(values)}
    if not known:
        return ""
    pooled = np.concatenate(list(known.values()))
    across = round_axis(float(pooled.min()), float(pooled.max()), most=8)
    num_bins = max(1, round(NUM_BINS / across.steps)) * across.steps
    shares = {
        name: np.histogram(values, num_bins, (across.low, across.high))[0] / len(values)
        for name, values in known.items()
    }
    upward = round_axis(0, max(float(share.max()) for share in shares.values()), most=4)
    drawn = [_outline(number, share, upward) for number, share in enumerate(shares.values())]
    drawn += [
        _line(across.at(float(values.mean())), f"mean series{number % NUM_SERIES}")
        for number, values in enumerate(known.values())
    ]
    means = "; ".join(f"{name}: mean {values.mean():.3f}" for name, values in known.items())
    return (
        f'<div class="plot"><div class="upward" aria-hidden="true">{_labels(upward, 100, " %")}'
        f'</div><svg {STRETCHED} role="img"'
        f' aria-label="{escape(f"Histograms of {unit}. {means}.")}">{_grid(upward)}{"".join(drawn)}'
        f'</svg><div class="across" aria-hidden="true">{_labels(across)}</div>'
        f'<p class="unit" aria-hidden="true">{escape(unit)}</p></div>{_legend(known)}'
    )


def bar(value: float, axis: Axis, mark: float) -> str:
    """A bar from zero to `value`, and a line at `mark`."""
    left, right = sorted((axis.at(0), axis.at(value)), key=float)
    return (
        f'<svg class="bar" {STRETCHED} aria-hidden="true"><rect class="track" width="100"'
        f' height="100"/><rect class="full" x="{left}" width="{float(right) - float(left):.2f}"'
        f' height="100"/>{_line(axis.at(mark), "mark")}</svg>'
    )


def interval(value: float, low: float, high: float, chance: float | None, axis: Axis) -> str:
    """A value as a stroke on its interval, and what chance gives as a dotted one."""
    left, right = axis.at(low), axis.at(high)
    by_chance = "" if chance is None else _line(axis.at(chance), "chance")
    return (
        f'<svg class="bar" {STRETCHED} aria-hidden="true"><rect class="track" y="42" width="100"'
        f' height="16"/><rect class="full" x="{left}" y="28" height="44"'
        f' width="{float(right) - float(left):.2f}"/>{by_chance}{_line(axis.at(value), "mark")}'
        "</svg>"
    )


def _outline(number: int, share: Values, upward: Axis) -> str:
    """The steps of one histogram, filled."""
    steps = [
        f"V{100 - float(upward.at(height)):.2f}H{100 * (column + 1) / len(share):.3f}"
        for column, height in enumerate(share)
    ]
    return f'<path class="series{number % NUM_SERIES}" d="M0 100{"".join(steps)}V100Z"/>'


def _grid(upward: Axis) -> str:
    heights = [100 - float(upward.at(tick)) for tick in upward.ticks]
    return "".join(
        f'<line class="grid" x1="0" x2="100" y1="{y:.2f}" y2="{y:.2f}"/>' for y in heights
    )


def _line(x: str, kind: str) -> str:
    return f'<line class="{kind}" x1="{x}" x2="{x}" y1="0" y2="100"/>'


def _labels(axis: Axis, times: float = 1, unit: str = "") -> str:
    return "".join(
        f"<span><i>{round(tick * times, 6) + 0.0:g}{unit}</i></span>" for tick in axis.ticks
    )


def _legend(known: Mapping[str, Values]) -> str:
    rows = []
    for number, (name, values) in enumerate(known.items()):
        low, high = (format_number(float(each)) for each in np.quantile(values, (0.05, 0.95)))
        swatch = (
            f'<svg class="swatch" {STRETCHED} aria-hidden="true">'
            f'<path class="series{number % NUM_SERIES}" d="M0 100V50H100V100Z"/></svg>'
        )
        rows.append(
            f'<tr><th scope="row">{swatch}{escape(name)}</th><td>{len(values):,}</td>'
            f"<td>{format_number(float(values.mean()))}</td><td>{low} &ndash; {high}</td></tr>"
        )
    return (
        '<table class="legend"><thead><tr><td></td><th scope="col">pairs</th>'
        '<th scope="col">mean</th><th scope="col">nine in ten between</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
