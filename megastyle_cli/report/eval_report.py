"""One HTML file to judge a measured set by: measures, histograms, styles, and what went worst.

As the page of results it opens offline, and the words of records in it stay words.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from statistics import fmean
from string import Template
from typing import Any

from megastyle_cli.core.record import PROVENANCE, Record
from megastyle_cli.report.html import breakable, part, policy, write_document
from megastyle_cli.report.rows import Tile, count, figure, one_line, tile_of
from megastyle_cli.report.svg_plots import Axis, bar, histograms, interval, round_axis
from megastyle_cli.report.thumbnails import Thumbnail, picture, shared_pictures, thumbnails

Bar = tuple[str, float, int]

NUM_BARS = 24  # in sight; the rest are folded away
NUM_WORST = 48
BESIDE = {"style_file_name": "style reference", "neighbor_file_name": "looks like"}
FACTS = {"n": "pictures"}
# By the stem of a measure's name, without the rank or the set: what to call it, what it is.
MEASURES = {
    "style_score": ("Style score", "mean cosine of a picture and its style reference"),
    "prototype_score": ("Prototype score", "mean cosine with the mean of the references"),
    "csls_score": ("CSLS style score", "style score less the mean cosine in the neighborhood"),
    "text_score": ("Text score", "mean cosine of a picture and its prompt"),
    "prompt_loss": ("Prompt loss", "text score of the content picture less that of the result"),
    "content_similarity": ("Content similarity", "mean cosine of contents, picture and reference"),
    "content_leakage": ("Content leakage", "content similarity less that with strangers"),
    "same_content": ("Same content@k", "nearest picture has the content, but another style"),
    "recall": ("Recall@k", "queries with a picture of their style among the first k"),
    "map_csd": ("mAP@k by CSD", "mean over the first k ranks of the precision there"),
    "map": ("mAP@k", "textbook average precision"),
    "spread_within": ("Within a style", "mean cosine of two pictures of a style"),
    "spread_between": ("Between styles", "mean cosine of two pictures of different styles"),
    "mpd": ("MPD", "mean cosine distance of two items"),
    "vendi": ("Vendi", "how many items all unlike would be as diverse"),
    "mnnd": ("MNND", "mean cosine distance to the nearest item"),
}


def write_report(
    path: Path,
    *,
    title: str,
    summary: Mapping[str, Any],
    histograms: Mapping[str, Sequence[float]],
    bars: Sequence[Bar],
    worst: Sequence[Record],
) -> None:
    """Write the report to `path`, which never holds half of one.

    `summary` holds measures as floats, each with `*_low`, `*_high` for its 95 % interval and
    `random_*` for what chance gives where these are known; what else it holds is told as facts,
    the models in its `_megastyle` first. `histograms` are cosines of pairs by the name of the kind
    of pair. `bars` are (style, mean score, number of pictures). `worst` are records, the worst
    first, with `why` in words; their `style_file_name` and `neighbor_file_name` stand beside them.
    """
    page = draw_report(title, summary, histograms, bars, worst)
    write_document(page, path)


def draw_report(
    title: str,
    summary: Mapping[str, Any],
    samples: Mapping[str, Sequence[float]],
    bars: Sequence[Bar],
    worst: Sequence[Record],
) -> str:
    """The report as HTML; a part that there is nothing for is not in it."""
    cases = [_case(record) for record in worst[:NUM_WORST]]
    drawn = thumbnails(tile for case in cases for tile in case.tiles.values())
    style = part("look.css") + part("report.css") + shared_pictures(drawn)
    sections = {
        "Measures": _measures(summary),
        "How alike pairs of pictures are": histograms(samples, "cosine of a pair"),
        "Style by style": _styles(bars),
        "What went worst": _worst(cases, drawn, len(worst) - len(cases)),
    }
    return Template(part("report.html")).substitute(
        policy=escape(policy(style=style)),
        title=escape(one_line(title)),
        facts=_facts(summary),
        style=style,
        sections="\n".join(
            f'<section aria-labelledby="part{number}"><h2 id="part{number}">{name}</h2>\n{inside}'
            "\n</section>"
            for number, (name, inside) in enumerate(sections.items())
            if inside
        ),
    )


def _facts(summary: Mapping[str, Any]) -> str:
    """Models and fingerprints, counts and settings, as a definition list."""
    notes = summary.get(PROVENANCE, {}).get("eval", {})
    told = {**notes, **{name: v for name, v in summary.items() if not isinstance(v, float)}}
    facts = [
        f"<div><dt>{escape(FACTS.get(name, _plain(name)))}</dt><dd>{_fact(value)}</dd></div>"
        for name, value in told.items()
        if isinstance(value, str | int)
    ]
    return f'<dl class="facts">{"".join(facts)}</dl>' if facts else ""


def _fact(value: str | int) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return figure(value) or breakable(one_line(str(value)))


def _measures(summary: Mapping[str, Any]) -> str:
    values = {name: v for name, v in summary.items() if isinstance(v, float) and math.isfinite(v)}
    names = [name for name in values if _stem(name) in values and not name.startswith("random_")]
    names = [name for name in names if name == _stem(name)]
    if not names:
        return ""
    axis = round_axis(min(0.0, *values.values()), 1.0, most=10)
    rows = "".join(_measure(name, values, axis) for name in names)
    return (
        '<div class="wide"><table class="measures"><thead><tr><th scope="col">measure</th>'
        '<th scope="col">value</th><th scope="col">95 % interval</th>'
        '<th scope="col">by chance</th><td class="scale" aria-hidden="true">'
        f"<span>{axis.low:g}</span><span>{axis.high:g}</span></td></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _stem(name: str) -> str:
    return name.removesuffix("_low").removesuffix("_high")


def _measure(name: str, values: Mapping[str, float], axis: Axis) -> str:
    value, chance = values[name], values.get(f"random_{name}")
    low, high = values.get(f"{name}_low", value), values.get(f"{name}_high", value)
    between = f"{figure(low)} &ndash; {figure(high)}" if f"{name}_low" in values else ""
    label, meaning = _named(name)
    plot = interval(value, low, high, chance, axis) if abs(value) <= 1 else ""
    return (
        f'<tr><th scope="row">{escape(label)}<small>{escape(meaning)}</small></th>'
        f"<td>{figure(value)}</td><td>{between}</td>"
        f"<td>{'' if chance is None else figure(chance)}</td><td>{plot}</td></tr>"
    )


def _named(name: str) -> tuple[str, str]:
    """What people call a measure, and what it is: ("Recall@10", "queries with ...")."""
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


def _styles(bars: Sequence[Bar]) -> str:
    """Every style's bar, the worst first; those past the first NUM_BARS are folded away."""
    known = sorted((each for each in bars if math.isfinite(each[1])), key=lambda each: each[1])
    if not known:
        return ""
    mean = fmean(value for _, value, _ in known)
    axis = round_axis(min(0.0, known[0][1]), max(1.0, known[-1][1]), most=10)
    seen, folded = known[:NUM_BARS], known[NUM_BARS:]
    words = (
        f'<p class="words">Mean score of the pictures of each style, lowest first; the line is the'
        f" mean of {count(len(known), 'style')}, {figure(mean)}.</p>"
    )
    return words + _bars(seen, axis, mean) + (_folded(folded, axis, mean) if folded else "")


def _folded(bars: Sequence[Bar], axis: Axis, mean: float) -> str:
    low, high = figure(bars[0][1]), figure(bars[-1][1])
    return (
        f"<details><summary>{count(len(bars), 'more style')}, {low} &ndash; {high}</summary>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="More styles">'
        f"{_bars(bars, axis, mean)}</div></details>"
    )


def _bars(bars: Sequence[Bar], axis: Axis, mean: float) -> str:
    rows = "".join(
        f'<tr><th scope="row">{breakable(one_line(name))}</th><td>{bar(value, axis, mean)}</td>'
        f"<td>{value:.3f}</td><td>{number:,}</td></tr>"
        for name, value, number in bars
    )
    return (
        '<table class="bars"><thead><tr><th scope="col">style</th><td></td>'
        f'<th scope="col">score</th><th scope="col">pictures</th></tr></thead><tbody>{rows}'
        "</tbody></table>"
    )


@dataclass(frozen=True, kw_only=True)
class _Case:
    """A record and what stands beside it, by what that is; `why` in words."""

    title: str
    tiles: dict[str, Tile]
    why: str


def _case(record: Record) -> _Case:
    tile = tile_of(record)
    tiles = {"picture": tile}
    for key, name in BESIDE.items():
        path = record.get(key)
        if isinstance(path, str) and path not in (each.picture for each in tiles.values()):
            tiles[name] = replace(tile, picture=path, title=one_line(Path(path).stem), alt=name)
    return _Case(title=tile.title, tiles=tiles, why=one_line(str(record.get("why", ""))))


def _worst(cases: Sequence[_Case], drawn: Mapping[str, Thumbnail], num_more: int) -> str:
    if not cases:
        return ""
    items = "\n".join(
        f'<li class="case">{"".join(_side(name, tile, drawn) for name, tile in case.tiles.items())}'
        f'<p class="title">{breakable(case.title)}</p><p class="why">{escape(case.why)}</p></li>'
        for case in cases
    )
    more = f'<p class="more">+ {num_more:,} more</p>' if num_more else ""
    return f'<ol class="cases">\n{items}\n</ol>{more}'


def _side(name: str, tile: Tile, drawn: Mapping[str, Thumbnail]) -> str:
    return f"<figure>{picture(tile, drawn)}<figcaption>{escape(name)}</figcaption></figure>"
