"""Thumbnails in a page: each picture is embedded once, however often it is shown."""

import base64
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from PIL import Image

from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.io.images import open_picture
from megastyle_cli.report.html import breakable, markup, part, policy, render
from megastyle_cli.report.rows import Tile

THUMBNAIL_PX = 400
WEBP_QUALITY = 60  # 100 paintings then take 2.3 MB, base64 included, photographs 1.7 MB
# What an <img> shows whose picture stands in the style sheet, since several show the same one.
EMPTY = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A picture made small, as a data address; shared if several tiles show it."""

    address: str
    width: int
    height: int
    is_shared: bool

    @property
    def name(self) -> str:
        """Its class in the style sheet, if it is shared."""
        return "p" + hashlib.sha256(self.address.encode()).hexdigest()[:12]


def render_tiles(
    template: str, tiles: Sequence[Tile], *, style: str, script: str = "", **values: Any
) -> str:
    """The page that a template makes of the values, with the pictures of `tiles` embedded.

    `style` and `script` name what it has besides the look and the close-up of every page.
    """
    shown = [*tiles, *(_content_of(tile) for tile in tiles if tile.content)]
    drawn = thumbnails(shown)
    styles = part("look.css") + part(style) + shared_pictures(drawn)
    scripts = part("look.js") + (part(script) if script else "")
    return render(
        template,
        policy=policy(style=styles, script=scripts),
        style=markup(styles),
        script=markup(scripts),
        picture=lambda tile: markup(picture(tile, drawn)),
        is_drawn=drawn.__contains__,
        content_of=_content_of,
        **values,
    )


def _content_of(tile: Tile) -> Tile:
    return replace(tile, picture=tile.content, alt=f"Content: {tile.title}")


def thumbnails(tiles: Iterable[Tile]) -> dict[str, Thumbnail]:
    """The thumbnail of every picture of the tiles that can be read, by its path."""
    names = [tile.picture for tile in tiles if tile.picture]
    distinct = list(dict.fromkeys(names))
    drawn = dict(zip(distinct, parallel_map(_encoded, distinct), strict=True))
    # Two files may hold the same picture: what counts is how often the address is needed.
    uses = Counter(encoded for name in names if (encoded := drawn[name]))
    return {
        name: Thumbnail(address=each[0], width=each[1], height=each[2], is_shared=uses[each] > 1)
        for name, each in drawn.items()
        if each
    }


def shared_pictures(drawn: Mapping[str, Thumbnail]) -> str:
    """The style rules that show the shared ones."""
    shared: Sequence[Thumbnail] = sorted(
        {each for each in drawn.values() if each.is_shared}, key=lambda each: each.name
    )
    return "\n".join(f".{each.name}{{background-image:url({each.address})}}" for each in shared)


def picture(tile: Tile, drawn: Mapping[str, Thumbnail]) -> str:
    """The tile's <img>, or its words if it has no picture that can be read."""
    thumbnail = drawn.get(tile.picture)
    if not thumbnail:
        why = "<i>unreadable picture</i>" if tile.picture else ""
        words = f"<small>{escape(tile.words)}</small>" if tile.words else ""
        return f'<span class="text">{why}{breakable(tile.title)}{words}</span>'
    name, address = ("", thumbnail.address)
    if thumbnail.is_shared:
        name, address = (f" {thumbnail.name}", EMPTY)
    return (
        f'<img class="picture{name}" src="{address}" alt="{escape(tile.alt)}"'
        f' width="{thumbnail.width}" height="{thumbnail.height}" decoding="async">'
    )


def _encoded(picture: str) -> tuple[str, int, int] | None:
    """A picture's data address, width and height in pixels; None if it cannot be read."""
    try:
        image = open_picture(picture, THUMBNAIL_PX)
    except BadRecord:
        return None
    return f"data:image/webp;base64,{webp_base64(image)}", image.width, image.height


def webp_base64(image: Image.Image, quality: int = WEBP_QUALITY) -> str:
    """An image as WebP in base64."""
    with io.BytesIO() as webp:
        image.save(webp, format="WEBP", quality=quality, method=4)
        return base64.b64encode(webp.getvalue()).decode()
