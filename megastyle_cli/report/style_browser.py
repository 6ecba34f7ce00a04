"""A style browser as one HTML file: tiles on the cluster map or in a grid, filtered as you type.

The styles are data in the page, and only tiles in sight are drawn, so that 10,000 open at once
(some 16 MB). It opens offline, and text of records is escaped.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Record
from megastyle_cli.io.images import open_picture
from megastyle_cli.report.html import markup, write_document
from megastyle_cli.report.rows import count, one_line, tile_of, typical
from megastyle_cli.report.style_name import style_name
from megastyle_cli.report.thumbnails import render_tiles, webp_base64

MAX_STYLES = 20_000
SIDES_PX = ((300, 256), (2000, 128), (MAX_STYLES, 64))  # up to N pictures: their longer side
MAX_PICTURES = 12  # of one style
MAX_PROMPTS = 100  # of a cluster, from which the typical one is chosen
MIN_SHARE = 0.2  # of a picture's area, for a color to be one of it
# Ends of hues, in 256ths of the circle from red on.
HUES = (
    *((11, "red"), (28, "orange"), (48, "yellow"), (115, "green"), (135, "teal")),
    *((180, "blue"), (213, "purple"), (245, "pink"), (256, "red")),
)
COLORS = (
    *("red", "orange", "brown", "yellow", "green", "teal", "blue", "purple", "pink"),
    *("white", "gray", "black"),
)


def write_browser(records: Iterable[Record], path: Path, *, title: str) -> None:
    """Write the page to `path` atomically."""
    write_document(browser_html(records, title=title), path)


def browser_html(records: Iterable[Record], *, title: str) -> str:
    """The page as HTML: records of one `style_id` are one style, others are one each.

    Styles stand on a map if all have `x` and `y`.
    """
    styles: dict[tuple[str, Any], list[Record]] = {}
    for number, record in enumerate(records):
        label = record.get("style_id")
        key = ("label", label) if isinstance(label, str) else ("record", number)
        styles.setdefault(key, []).append(record)
    shown = list(styles.values())[:MAX_STYLES]
    pictures = [_pictures(members) for members in shown]
    names = list(dict.fromkeys(name for found in pictures for name in found))
    side = next((px for most, px in SIDES_PX if len(names) <= most), SIDES_PX[-1][1])
    drawn = dict(zip(names, parallel_map(partial(_thumbnail, side), names), strict=True))
    levels = _levels(shown)
    has_map = bool(shown) and all(_place(members[0]) for members in shown)
    data = {
        "colors": COLORS,
        "levels": levels,
        "hasMap": has_map,
        "styles": [
            _style(members, [drawn[name] for name in found], has_map)
            for members, found in zip(shown, pictures, strict=True)
        ],
    }
    clusters = count(len(levels[0][1]), "cluster") if levels else ""
    sizes = ", ".join(filter(None, (count(len(styles), "style"), clusters)))
    return render_tiles(
        "style_browser.html",
        [],
        style="style_browser.css",
        script="style_browser.js",
        title=f"{one_line(title)}: {sizes}",
        data=markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")),
        has_map=has_map,
        levels=levels,
        colors=COLORS,
        num_left=len(styles) - len(shown),
    )


def _pictures(members: Sequence[Record]) -> list[str]:
    """The style's reference and its pictures, the first few."""
    names = [members[0].get("style_file_name"), *(record.get("file_name") for record in members)]
    return list(dict.fromkeys(n for n in names if isinstance(n, str) and n))[:MAX_PICTURES]


def _style(members: Sequence[Record], drawn: Sequence[Any], has_map: bool) -> list[Any]:
    """A style as the page's script reads it."""
    first, tile = members[0], tile_of(members[0])
    thumbnails = [each for each in drawn if each]
    return [
        one_line(style_name(first)),
        tile.words or tile.title,
        _path(first),
        _place(first) if has_map else [],
        thumbnails[0][3] if thumbnails else [],
        [each[:3] for each in thumbnails],
        tile.facts,
    ]


def _place(record: Record) -> list[float]:
    place = [record.get("x"), record.get("y")]
    numbers = [round(n, 4) for n in place if isinstance(n, int | float)]
    return numbers if len(numbers) == 2 else []


def _path(record: Record) -> list[int]:
    """The record's clusters, finest first."""
    path = []
    for key in ("cluster", *(f"cluster_{level}" for level in range(2, 10))):
        if not isinstance(number := record.get(key), int):
            break
        path.append(number)
    return path


def _levels(styles: Sequence[Sequence[Record]]) -> list[tuple[str, list[tuple[int, int, str]]]]:
    """The levels of clusters: a key, and number, size and typical words of each, largest first."""
    sizes: list[Counter[int]] = []
    prompts: dict[tuple[int, int], list[str]] = {}
    for first, *_ in styles:
        tile = tile_of(first)
        for level, number in enumerate(_path(first)):
            if level == len(sizes):
                sizes.append(Counter())
            sizes[level][number] += 1
            if len(known := prompts.setdefault((level, number), [])) < MAX_PROMPTS:
                known.append(tile.words or tile.title)
    return [
        (
            "cluster" if level == 0 else f"cluster_{level + 1}",
            [
                (number, size, style_name({"style": typical(prompts[level, number])[0]}))
                for number, size in sorted(found.items(), key=lambda each: (-each[1], each[0]))
            ],
        )
        for level, found in enumerate(sizes)
    ]


def _thumbnail(side_px: int, picture: str) -> tuple[str, int, int, list[int]] | None:
    """A picture as WebP, width and height in pixels, and its colors; None if it is unreadable."""
    try:
        image = open_picture(picture, side_px)
    except BadRecord:
        return None
    colors = [COLORS.index(name) for name in main_colors(image)]
    return webp_base64(image), image.width, image.height, colors


def main_colors(image: Image.Image) -> list[str]:
    """The names of COLORS that cover a good part of an RGB image, largest first."""
    pixels = image.resize((16, 16)).convert("HSV").tobytes()
    found = Counter(
        _color(*pixels[start : start + 3]) for start in range(0, len(pixels), 3)
    ).most_common()
    return [name for name, size in found if size >= MIN_SHARE * 256]


def _color(hue: int, saturation: int, value: int) -> str:
    if value < 60:
        return "black"
    if saturation < 45:
        return "white" if value > 205 else "gray"
    name = next(name for end, name in HUES if hue < end)
    return "brown" if name in ("orange", "yellow") and value < 170 else name
