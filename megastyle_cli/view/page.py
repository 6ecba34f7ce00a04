"""One HTML file to look at results with: pictures inlined, search, a closer look; opens offline.

Records are untrusted: all their words are escaped, no script is made from them, and the page's own
policy lets no script, style or address in but those written here.
"""

import base64
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from megastyle_cli.cores import over_cores
from megastyle_cli.errors import BadRecord
from megastyle_cli.record import Record
from megastyle_cli.stream.images import open_picture
from megastyle_cli.view.rows import (
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

THUMBNAIL_PX = 400
WEBP_QUALITY = 76  # 100 photographs then take some 2.3 MB, base64 included
# 600 tiles in all: some 15 MB, which a phone still opens.
COLUMNS = 12
MAX_LINES = 50
# What an <img> shows whose picture stands in the style sheet, since several show the same one.
EMPTY = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"


def write_page(
    records: Iterable[Record], path: Path, *, title: str, summary: Mapping[str, Any] = {}
) -> None:
    """Write the page of `records` to `path`, which never holds half a page.

    `summary` is shown as figures: its numbers, in order; `x_low` and `x_high` join `x`.
    """
    page = draw_page(rows_of(records), title=title, summary=summary)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.tmp")
    try:
        # A file name in the title may hold bytes that UTF-8 cannot.
        unfinished.write_text(page, encoding="utf-8", errors="replace")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def draw_page(rows: Sequence[Row], *, title: str, summary: Mapping[str, Any]) -> str:
    """The page as HTML. Every distinct picture is in it once, however often it is shown."""
    shown = fit(rows, columns=COLUMNS, max_lines=MAX_LINES)
    thumbnails = _thumbnails(shown)
    shared = sorted({each for each in thumbnails.values() if each.is_shared}, key=lambda t: t.name)
    style = _part("page.css") + "\n".join(
        f".{each.name}{{background-image:url({each.address})}}" for each in shared
    )
    script = _part("page.js")
    body = [_row(row, thumbnails) for row in shown]
    if num_left := len(rows) - len(shown):
        body.append(f'<p class="row more">+ {count(num_left, "more " + row_noun(rows))}</p>')
    return Template(_part("page.html")).substitute(
        policy=escape(_policy(style, script)),
        title=escape(one_line(title)),
        contents=escape(contents(rows)),
        figures=_figures(summary),
        style=style,
        rows="\n".join(body),
        script=script,
    )


@dataclass(frozen=True, kw_only=True)
class _Thumbnail:
    """A picture made small, as a data address; shared if several tiles show it."""

    address: str
    width: int
    height: int
    is_shared: bool

    @property
    def name(self) -> str:
        return "p" + hashlib.sha256(self.address.encode()).hexdigest()[:12]


def _thumbnails(rows: Sequence[Row]) -> dict[str, _Thumbnail]:
    """The thumbnail of every picture of the rows that can be read, by its path."""
    names = [tile.picture for row in rows for tile in _tiles(row) if tile.picture]
    distinct = list(dict.fromkeys(names))
    drawn = dict(zip(distinct, over_cores(_encoded, distinct), strict=True))
    # Two files may hold the same picture: what counts is how often the address is needed.
    uses = Counter(encoded for name in names if (encoded := drawn[name]))
    return {
        name: _Thumbnail(address=each[0], width=each[1], height=each[2], is_shared=uses[each] > 1)
        for name, each in drawn.items()
        if each
    }


def _tiles(row: Row) -> Iterator[Tile]:
    if row.head:
        yield row.head
    yield from row.tiles


def _encoded(picture: str) -> tuple[str, int, int] | None:
    """A picture's data address, width and height in pixels; None if it cannot be read."""
    try:
        image = open_picture(picture, THUMBNAIL_PX)
    except BadRecord:
        return None
    with io.BytesIO() as webp:
        image.save(webp, format="WEBP", quality=WEBP_QUALITY, method=4)
        encoded = base64.b64encode(webp.getvalue()).decode()
    return f"data:image/webp;base64,{encoded}", image.width, image.height


def _row(row: Row, thumbnails: Mapping[str, _Thumbnail]) -> str:
    tiles = "\n".join(_tile(tile, row, thumbnails) for tile in row.tiles)
    more = f'<p class="more">+ {row.num_more:,} more</p>' if row.num_more else ""
    headed = " headed" if row.head else ""
    key = escape(f"{row.kind} {row.key}")
    return (
        f'<section class="row{headed}" data-key="{key}">\n'
        f'<div class="about">{_about(row, thumbnails)}</div>\n'
        f'<div><div class="tiles">\n{tiles}\n</div>{more}</div>\n</section>'
    )


def _about(row: Row, thumbnails: Mapping[str, _Thumbnail]) -> str:
    title = f"<h2>{_breakable(row.title)}</h2>" if row.title else ""
    words = f'<p class="words">{escape(row.words)}</p>' if row.words else ""
    if not row.head:
        return title + words
    label = escape(f"Show only {row.title}")
    picture = _picture(row.head, thumbnails)
    size = count(row.size, "neighbor" if row.kind == "query" else "record")
    return (
        f'<p class="kind">{row.kind}</p>'
        f'<button type="button" class="head" aria-pressed="false" aria-label="{label}">'
        f'{picture}</button>{title}{words}<p class="size">{size}</p>'
    )


def _tile(tile: Tile, row: Row, thumbnails: Mapping[str, _Thumbnail]) -> str:
    badge = f'<span class="badge">{escape(tile.badge)}</span>' if tile.badge else ""
    is_told = tile.picture not in thumbnails
    # Told once, but each tile keeps its words for the search and the closer look.
    title = f'<span class="title"{_hidden(is_told)}>{_breakable(tile.title)}</span>'
    told_twice = _hidden(is_told or tile.words == row.words)
    words = f'<span class="words"{told_twice}>{escape(tile.words)}</span>'
    facts = "".join(f"<dt>{escape(k)}</dt><dd>{_breakable(v)}</dd>" for k, v in tile.facts)
    return (
        f'<figure class="tile"><button type="button" class="open">{_picture(tile, thumbnails)}'
        f"{badge}</button><figcaption>{title}{words}"
        f'<dl class="facts" hidden>{facts}</dl></figcaption></figure>'
    )


def _hidden(is_hidden: bool) -> str:
    return " hidden" if is_hidden else ""


def _picture(tile: Tile, thumbnails: Mapping[str, _Thumbnail]) -> str:
    """The tile's <img>, or its words if it has no picture that can be read."""
    thumbnail = thumbnails.get(tile.picture)
    if not thumbnail:
        why = "<i>unreadable picture</i>" if tile.picture else ""
        words = f"<small>{escape(tile.words)}</small>" if tile.words else ""
        return f'<span class="text">{why}{_breakable(tile.title)}{words}</span>'
    name, address = ("", thumbnail.address)
    if thumbnail.is_shared:
        name, address = (f" {thumbnail.name}", EMPTY)
    return (
        f'<img class="picture{name}" src="{address}" alt="{escape(tile.alt)}"'
        f' width="{thumbnail.width}" height="{thumbnail.height}" decoding="async">'
    )


def _breakable(words: str) -> str:
    """Escaped words that may also break inside a path or a file name."""
    return escape(words).replace("_", "_<wbr>").replace("/", "/<wbr>")


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


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy that admits this style and script by their hash, nothing else."""
    allowed = {"style-src": style, "script-src": script}
    hashes = {
        name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for name, text in allowed.items()
    }
    rules = "; ".join(f"{name} 'sha256-{digest}'" for name, digest in hashes.items())
    return f"default-src 'none'; img-src data:; {rules}; base-uri 'none'; form-action 'none'"


def _part(name: str) -> str:
    return files("megastyle_cli.view").joinpath(name).read_text(encoding="utf-8")
