"""One HTML file to look at results with: pictures inlined, search, a closer look; opens offline.

Records are untrusted: all their words are escaped, no script is made from them, and the page's own
policy lets no script, style or address in but those written here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from megastyle_cli.core.record import Record
from megastyle_cli.report.cluster_tree import tree_html
from megastyle_cli.report.html import markup, part, policy, render, write_document
from megastyle_cli.report.rows import (
    Row,
    Tile,
    contents,
    count,
    fit,
    format_number,
    one_line,
    row_noun,
    rows_of,
)
from megastyle_cli.report.thumbnails import picture, shared_pictures, thumbnails

# 600 tiles in all: some 15 MB, which a phone still opens.
COLUMNS = 12
MAX_LINES = 50


def write_page(
    records: Iterable[Record], path: Path, *, title: str, summary: Mapping[str, Any] = {}
) -> None:
    """Write the page of `records` to `path`, which never holds half a page.

    The numbers of `summary` are shown in order; `x_low` and `x_high` join `x`.
    """
    held = list(records)
    page = page_html(rows_of(held), title=title, summary=summary, tree=tree_html(held))
    write_document(page, path)


def page_html(
    rows: Sequence[Row], *, title: str, summary: Mapping[str, Any], tree: str = ""
) -> str:
    """The page as HTML. Every distinct picture is in it once, however often it is shown.

    `tree` is drawn above the rows: how their clusters nest.
    """
    shown = fit(rows, columns=COLUMNS, max_lines=MAX_LINES)
    drawn = thumbnails(tile for row in shown for tile in _tiles(row))
    style = part("look.css") + part("page.css") + shared_pictures(drawn)
    script = part("page.js")
    num_left = len(rows) - len(shown)
    return render(
        "gallery.html",
        policy=policy(style=style, script=script),
        title=one_line(title),
        contents=contents(rows),
        numbers=list(_numbers(summary)),
        style=markup(style),
        script=markup(script),
        tree=markup(tree),
        rows=shown,
        rows_left=count(num_left, "more " + row_noun(rows)) if num_left else "",
        picture=lambda tile: markup(picture(tile, drawn)),
        is_drawn=lambda tile: tile.picture in drawn,
    )


def _tiles(row: Row) -> Iterator[Tile]:
    if row.head:
        yield row.head
    yield from row.tiles


def _numbers(summary: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """The summary's numbers with their intervals, in order."""
    for key, value in summary.items():
        stem = key.removesuffix("_low").removesuffix("_high")
        if format_number(value) and (stem == key or stem not in summary):
            yield {
                "name": key.replace("_", " "),
                "value": format_number(value),
                "low": format_number(summary.get(f"{key}_low")),
                "high": format_number(summary.get(f"{key}_high")),
            }
