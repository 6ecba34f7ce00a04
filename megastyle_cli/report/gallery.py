"""One HTML file to look at results with: pictures inlined, search, a closer look; opens offline.

Records are untrusted: all their words are escaped, no script is made from them, and the page's own
policy lets no script, style or address in but those written here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from megastyle_cli.core.record import Record
from megastyle_cli.report.cluster_tree import draw_tree
from megastyle_cli.report.html import breakable, part, policy, write_document
from megastyle_cli.report.rows import (
    Row,
    Tile,
    contents,
    count,
    figure,
    fit,
    one_line,
    row_noun,
    rows_of,
)
from megastyle_cli.report.thumbnails import Thumbnail, picture, shared_pictures, thumbnails

# 600 tiles in all: some 15 MB, which a phone still opens.
COLUMNS = 12
MAX_LINES = 50


def write_page(
    records: Iterable[Record], path: Path, *, title: str, summary: Mapping[str, Any] = {}
) -> None:
    """Write the page of `records` to `path`, which never holds half a page.

    `summary` is shown as figures: its numbers, in order; `x_low` and `x_high` join `x`.
    """
    held = list(records)
    page = draw_page(rows_of(held), title=title, summary=summary, tree=draw_tree(held))
    write_document(page, path)


def draw_page(
    rows: Sequence[Row], *, title: str, summary: Mapping[str, Any], tree: str = ""
) -> str:
    """The page as HTML. Every distinct picture is in it once, however often it is shown.

    `tree` is drawn above the rows: how their clusters nest.
    """
    shown = fit(rows, columns=COLUMNS, max_lines=MAX_LINES)
    drawn = thumbnails(tile for row in shown for tile in _tiles(row))
    style = part("look.css") + part("page.css") + shared_pictures(drawn)
    script = part("page.js")
    body = [_row(row, drawn) for row in shown]
    if num_left := len(rows) - len(shown):
        body.append(f'<p class="row more">+ {count(num_left, "more " + row_noun(rows))}</p>')
    return Template(part("page.html")).substitute(
        policy=escape(policy(style=style, script=script)),
        title=escape(one_line(title)),
        contents=escape(contents(rows)),
        figures=_figures(summary),
        style=style,
        tree=tree,
        rows="\n".join(body),
        script=script,
    )


def _tiles(row: Row) -> Iterator[Tile]:
    if row.head:
        yield row.head
    yield from row.tiles


def _row(row: Row, drawn: Mapping[str, Thumbnail]) -> str:
    tiles = "\n".join(_tile(tile, row, drawn) for tile in row.tiles)
    more = f'<p class="more">+ {row.num_more:,} more</p>' if row.num_more else ""
    headed = " headed" if row.head else ""
    key = escape(f"{row.kind} {row.key}")
    return (
        f'<section class="row{headed}" data-key="{key}">\n'
        f'<div class="about">{_about(row, drawn)}</div>\n'
        f'<div><div class="tiles">\n{tiles}\n</div>{more}</div>\n</section>'
    )


def _about(row: Row, drawn: Mapping[str, Thumbnail]) -> str:
    title = f"<h2>{breakable(row.title)}</h2>" if row.title else ""
    words = f'<p class="words">{escape(row.words)}</p>' if row.words else ""
    if not row.head:
        return title + words
    label = escape(f"Show only {row.title}")
    head = picture(row.head, drawn)
    size = count(row.size, "neighbor" if row.kind == "query" else "record")
    return (
        f'<p class="kind">{row.kind}</p>'
        f'<button type="button" class="head" aria-pressed="false" aria-label="{label}">'
        f'{head}</button>{title}{words}<p class="size">{size}</p>'
    )


def _tile(tile: Tile, row: Row, drawn: Mapping[str, Thumbnail]) -> str:
    badge = f'<span class="badge">{escape(tile.badge)}</span>' if tile.badge else ""
    is_told = tile.picture not in drawn
    # Told once, but each tile keeps its words for the search and the closer look.
    title = f'<span class="title"{_hidden(is_told)}>{breakable(tile.title)}</span>'
    told_twice = _hidden(is_told or tile.words == row.words)
    words = f'<span class="words"{told_twice}>{escape(tile.words)}</span>'
    facts = "".join(f"<dt>{escape(k)}</dt><dd>{breakable(v)}</dd>" for k, v in tile.facts)
    return (
        f'<figure class="tile"><button type="button" class="open">{picture(tile, drawn)}'
        f"{badge}</button><figcaption>{title}{words}"
        f'<dl class="facts" hidden>{facts}</dl></figcaption></figure>'
    )


def _hidden(is_hidden: bool) -> str:
    return " hidden" if is_hidden else ""


def _figures(summary: Mapping[str, Any]) -> str:
    """The summary's numbers as a definition list, "" if there are none."""
    parts = []
    for key, value in summary.items():
        stem = key.removesuffix("_low").removesuffix("_high")
        if not figure(value) or (stem != key and stem in summary):
            continue
        low, high = figure(summary.get(f"{key}_low")), figure(summary.get(f"{key}_high"))
        between = f" <small>{low}&ndash;{high}</small>" if low and high else ""
        name = escape(key.replace("_", " "))
        parts.append(f"<div><dt>{name}</dt><dd>{figure(value)}{between}</dd></div>")
    return f'<dl class="figures" aria-label="Summary">{"".join(parts)}</dl>' if parts else ""
