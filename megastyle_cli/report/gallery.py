"""A gallery of results as one HTML file: inlined pictures, search, close-ups; opens offline.

Records are untrusted: all their text is escaped, no script is made from them, and the page's own
policy admits only the scripts, styles and addresses written here.
"""

from collections.abc import Sequence
from pathlib import Path

from megastyle_cli.report.html import write_document
from megastyle_cli.report.rows import (
    Row,
    contents,
    count,
    fit,
    legend,
    one_line,
    row_noun,
)
from megastyle_cli.report.thumbnails import render_tiles

# 600 tiles in all, also for 1,000 pictures: about 14 MB, and at most 10 MB for their contents; a
# phone can open that.
COLUMNS = 12
MAX_LINES = 50


def write_page(rows: Sequence[Row], path: Path, *, title: str) -> None:
    """Write the page of `rows` to `path` atomically."""
    write_document(page_html(rows, title=title), path)


def page_html(rows: Sequence[Row], *, title: str) -> str:
    """The page as HTML. Every distinct picture is in it once, however often it is shown."""
    shown = fit(rows, columns=COLUMNS, max_lines=MAX_LINES)
    tiles = [tile for row in shown for tile in (*row.heads, *row.tiles)]
    num_left = len(rows) - len(shown)
    return render_tiles(
        "gallery.html",
        tiles,
        style="page.css",
        script="page.js",
        title=f"{one_line(title)}: {contents(rows)}",
        legend=legend(rows),
        rows=shown,
        rows_left=count(num_left, "more " + row_noun(rows)) if num_left else "",
    )
