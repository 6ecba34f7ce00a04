"""The report of an evaluation as one HTML file: measures, histograms, styles, and the worst images.

Like the gallery it opens offline and shows a close-up of an image; text of records is escaped.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from megastyle_cli.core.record import PROVENANCE, Record
from megastyle_cli.report.html import markup, write_document
from megastyle_cli.report.rows import Tile, count, format_number, one_line, tile_of
from megastyle_cli.report.svg_plots import Axis, bar, histograms, interval, round_axis
from megastyle_cli.report.thumbnails import render_tiles

NUM_BARS = 24  # visible at first; the rest are collapsed
NUM_WORST = 48
BESIDE = {"style_file_name": "style reference", "neighbor_file_name": "nearest image"}
FACTS = {"n": "images"}
# By the stem of a measure's name, without the rank or the set: its label, its description.
MEASURES = {
    "style_score": ("Style score", "mean cosine of an image and its style reference"),
    "prototype_score": ("Prototype score", "mean cosine with the mean of the references"),
    "csls_score": ("CSLS style score", "style score minus the mean cosine in the neighborhood"),
    "text_score": ("Text score", "mean cosine of an image and its prompt"),
    "prompt_loss": ("Prompt loss", "text score of the content image minus that of the result"),
    "content_similarity": (
        "Content similarity",
        "mean cosine of the contents of an image and its reference",
    ),
    "content_leakage": (
        "Content leakage",
        "content similarity minus that with unrelated references",
    ),
    "same_content": ("Same content@k", "nearest image has the same content, but another style"),
    "csls_recall": ("CSLS Recall@k", "the same, ranked by CSLS: images close to all count less"),
    "csls_map": ("CSLS mAP@k", "textbook average precision of the ranking by CSLS"),
    "recall": ("Recall@k", "queries with an image of their style among the first k"),
    "map_csd": ("mAP@k by CSD", "mean precision over the first k ranks"),
    "map": ("mAP@k", "textbook average precision"),
    "spread_within": ("Within a style", "mean cosine of two images of a style"),
    "spread_between": ("Between styles", "mean cosine of two images of different styles"),
    "mpd": ("MPD", "mean cosine distance of two items"),
    "vendi": ("Vendi", "effective number of different items"),
    "mnnd": ("MNND", "mean cosine distance to the nearest item"),
}


class Bar(NamedTuple):
    """A style: its name, mean score and number of images, and the path of its picture or ""."""

    name: str
    score: float
    number: int
    picture: str


def write_report(
    path: Path,
    *,
    title: str,
    summary: Mapping[str, Any],
    histograms: Mapping[str, Sequence[float]],
    bars: Sequence[Bar],
    worst: Sequence[Record],
) -> None:
    """Write the report to `path` atomically.

    `summary` holds measures as floats, each with `*_low`, `*_high` for its 95 % interval and
    `random_*` for what chance gives where these are known; all else it holds is shown as facts,
    the models in its `_megastyle` first. `histograms` are cosines of pairs by the name of the kind
    of pair. `bars` are the styles. `worst` are records, the worst
    first, with `why` in words; their `style_file_name` and `neighbor_file_name` stand beside them.
    """
    page = report_html(title, summary, histograms, bars, worst)
    write_document(page, path)


def report_html(
    title: str,
    summary: Mapping[str, Any],
    samples: Mapping[str, Sequence[float]],
    bars: Sequence[Bar],
    worst: Sequence[Record],
) -> str:
    """The report as HTML, without the parts that have no data."""
    cases = [_case(record) for record in worst[:NUM_WORST]]
    scale, measures = _measures(summary)
    mean, styles = _styles(bars)
    return render_tiles(
        "eval_report.html",
        [
            *(tile for case in cases for tile in (case.tile, *case.beside.values())),
            *(style["tile"] for style in styles[:NUM_BARS]),
        ],
        style="report.css",
        title=f"{one_line(title)}: {count(summary.get('n', 0), 'image')}",
        facts=list(_facts(summary)),
        scale=scale,
        measures=measures,
        has_intervals=any(each["has_interval"] for each in measures),
        has_chance=any(each["chance"] is not None for each in measures),
        histograms=markup(histograms(samples, "cosine of a pair")),
        styles=styles,
        styles_mean=mean,
        num_bars=NUM_BARS,
        cases=cases,
        cases_left=len(worst) - len(cases),
    )


def _facts(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values of models and fingerprints, counts and settings."""
    notes = summary.get(PROVENANCE, {}).get("eval", {})
    values = {**notes, **{name: v for name, v in summary.items() if not isinstance(v, float)}}
    for name, value in values.items():
        if isinstance(value, str | int):
            yield FACTS.get(name, _plain(name)), _fact(value)


def _fact(value: str | int) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return format_number(value) or one_line(str(value))


def _measures(summary: Mapping[str, Any]) -> tuple[Axis, list[dict[str, Any]]]:
    """The scale of the plots, and a row of the table for each measure."""
    values = {name: v for name, v in summary.items() if isinstance(v, float) and math.isfinite(v)}
    names = [name for name in values if _stem(name) in values and not name.startswith("random_")]
    scale = round_axis(min(0.0, *values.values()) if values else 0.0, 1.0, most=10)
    return scale, [_measure(name, values, scale) for name in names if name == _stem(name)]


def _stem(name: str) -> str:
    return name.removesuffix("_low").removesuffix("_high")


def _measure(name: str, values: Mapping[str, float], scale: Axis) -> dict[str, Any]:
    value, chance = values[name], values.get(f"random_{name}")
    low, high = values.get(f"{name}_low", value), values.get(f"{name}_high", value)
    label, meaning = _named(name)
    return {
        "label": label,
        "meaning": meaning,
        "value": value,
        "low": low,
        "high": high,
        "has_interval": f"{name}_low" in values,
        "chance": chance,
        "plot": markup(interval(value, low, high, chance, scale) if abs(value) <= 1 else ""),
    }


def _named(name: str) -> tuple[str, str]:
    """The label and the description of a measure: ("Recall@10", "queries with ...")."""
    stem, _, rank = name.rpartition("_")
    if rank.isdecimal() and stem in MEASURES:
        label, meaning = MEASURES[stem]
        return label.replace("@k", f"@{rank}"), meaning
    if rank == "prompts" and stem in MEASURES:
        label, meaning = MEASURES[stem]
        return f"{label} of prompts", meaning
    return MEASURES.get(name, (_plain(name), ""))


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _styles(bars: Sequence[Bar]) -> tuple[float, list[dict[str, Any]]]:
    """The mean over styles, and a row of the table for each style, lowest first."""
    known = sorted((each for each in bars if math.isfinite(each.score)), key=lambda bar: bar.score)
    if not known:
        return 0.0, []
    mean = fmean(each.score for each in known)
    axis = round_axis(min(0.0, known[0].score), max(1.0, known[-1].score), most=10)
    return mean, [
        {
            "name": one_line(each.name),
            "value": each.score,
            "number": each.number,
            "plot": markup(bar(each.score, axis, mean)),
            "tile": picture_tile(each.picture, one_line(each.name)),
        }
        for each in known
    ]


@dataclass(frozen=True, kw_only=True)
class _Case:
    """A record and the images shown beside it, by their label; `why` in words."""

    tile: Tile
    beside: dict[str, Tile]
    why: str


def _case(record: Record) -> _Case:
    tile = tile_of(record)
    beside: dict[str, Tile] = {}
    for key, name in BESIDE.items():
        path = record.get(key)
        taken = (tile.picture, *(each.picture for each in beside.values()))
        if isinstance(path, str) and path not in taken:
            beside[name] = picture_tile(path, name)
    return _Case(tile=tile, beside=beside, why=one_line(str(record.get("why", ""))))


def picture_tile(picture: str, title: str) -> Tile:
    return Tile(picture=picture, title=title, words="", badge="", alt=title, id="")
