"""The page of a benchmark: dots and intervals, pairs of systems, styles of two systems, and the
styles that systems do worst.

Like the report of an evaluation it is one HTML file that opens offline.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megastyle_cli.report.eval_report import picture_tile
from megastyle_cli.report.html import markup, write_document
from megastyle_cli.report.rows import Tile, one_line
from megastyle_cli.report.svg_plots import Axis, interval, round_axis
from megastyle_cli.report.thumbnails import render_tiles


@dataclass(frozen=True, kw_only=True)
class SystemValue:
    """A system on one measure: the interval is its value where there is none."""

    name: str
    is_fitted: bool
    value: float
    low: float
    high: float
    has_interval: bool
    chance: float
    rank: str
    letters: str
    is_best: bool


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One measure of all systems, best first."""

    label: str
    is_share: bool
    values: Sequence[SystemValue]


@dataclass(frozen=True, kw_only=True)
class TierCharts:
    """The measures of one tier."""

    name: str
    num_queries: int
    charts: Sequence[Chart]


@dataclass(frozen=True, kw_only=True)
class PairMatrix:
    """Differences (s, s) of systems on one measure, row less column, and which are significant."""

    label: str
    is_share: bool
    names: Sequence[str]
    diff: Sequence[Sequence[float]]
    differs: Sequence[Sequence[bool]]


@dataclass(frozen=True, kw_only=True)
class StyleValues:
    """The value of each system for each style, in [0, 1]."""

    label: str
    systems: Sequence[str]
    styles: Sequence[str]
    values: Sequence[Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class WorstStyle:
    """A style that systems do badly: a query, and what each system found first."""

    name: str
    picture: str
    values: Sequence[tuple[str, float]]
    found: Sequence[tuple[str, str, bool]]  # system, picture, whether it is of the style


def write_benchmark_report(
    path: Path,
    *,
    title: str,
    notes: Sequence[str],
    tiers: Sequence[TierCharts],
    matrix: PairMatrix | None,
    by_style: StyleValues,
    worst: Sequence[WorstStyle],
) -> None:
    """Writes the page to `path` atomically; parts without data are left out."""
    cases = [_case(style) for style in worst]
    page = render_tiles(
        "benchmark_report.html",
        [tile for case in cases for tile in (case["tile"], *(each[1] for each in case["found"]))],
        style="report.css",
        script="benchmark_report.js",
        title=one_line(title),
        notes=[one_line(note) for note in notes],
        tiers=[_tier(tier) for tier in tiers],
        matrix=matrix,
        cell=_cell,
        by_style=by_style if len(by_style.systems) > 1 else None,
        points=markup(json.dumps(_points(by_style), separators=(",", ":")).replace("<", "\\u003c")),
        cases=cases,
    )
    write_document(page, path)


def _tier(tier: TierCharts) -> dict[str, Any]:
    charts = [_chart(chart) for chart in tier.charts]
    return {"name": tier.name, "num_queries": tier.num_queries, "charts": charts}


def _chart(chart: Chart) -> dict[str, Any]:
    times = 100 if chart.is_share else 1
    lows = [times * min(each.low, each.chance) for each in chart.values]
    highs = [times * max(each.high, each.chance) for each in chart.values]
    axis = round_axis(min(0.0, *lows), max(*highs, times * 0.1), most=5)
    rows = [
        {
            "name": one_line(each.name),
            "is_fitted": each.is_fitted,
            "rank": each.rank,
            "letters": each.letters,
            "is_best": each.is_best,
            "value": _number(each.value, chart.is_share),
            "range": _range(each, chart.is_share) if each.has_interval else "",
            "plot": markup(_plot(each, times, axis)),
        }
        for each in chart.values
    ]
    return {"label": chart.label, "axis": axis, "unit": "%" if chart.is_share else "", "rows": rows}


def _plot(each: SystemValue, times: float, axis: Axis) -> str:
    low, value, high = (times * x for x in (each.low, each.value, each.high))
    return interval(value, low, high, times * each.chance, axis)


def _range(each: SystemValue, is_share: bool) -> str:
    return f"{_number(each.low, is_share)} \u2013 {_number(each.high, is_share)}"


def _number(value: float, is_share: bool) -> str:
    return f"{100 * value:.1f}" if is_share else f"{value:.3f}"


def _cell(matrix: PairMatrix, row: int, column: int) -> Mapping[str, str]:
    """The words and the class of a difference: better, worse, or a tie."""
    value = matrix.diff[row][column] + 0.0
    kind = "better" if value > 0 else "worse"
    words = f"{100 * value:+.1f}" if matrix.is_share else f"{value:+.3f}"
    words = words if float(words) else "0"
    return {"words": words, "kind": kind if matrix.differs[row][column] else "tie"}


def _points(by_style: StyleValues) -> dict[str, Any]:
    return {
        "systems": [one_line(name) for name in by_style.systems],
        "styles": [one_line(name) for name in by_style.styles],
        "values": [[round(value, 4) for value in row] for row in by_style.values],
    }


def _case(style: WorstStyle) -> dict[str, Any]:
    def tile(picture: str, words: str) -> Tile:
        return picture_tile(picture, one_line(words))

    found = [
        (one_line(system), tile(picture, f"found by {system}"), is_hit)
        for system, picture, is_hit in style.found
    ]
    values = [(one_line(name), _number(value, True)) for name, value in style.values]
    name = one_line(style.name)
    return {"name": name, "tile": tile(style.picture, name), "values": values, "found": found}
