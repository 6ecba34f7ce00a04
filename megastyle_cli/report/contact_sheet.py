"""A labelled contact sheet: the style or query of each row set apart at the left, its tiles beside.

All measures follow from the width of a tile, so a sheet of small tiles is the same sheet, smaller.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.io.images import open_picture, save_picture
from megastyle_cli.report.rows import Row, Tile, contents, count, fit, one_line, row_noun

GROUND = "#f8f6f1"
PAPER = "#efece4"
LINE = "#d9d4c8"
INK = "#22201d"
MUTED = "#79736a"
ACCENT = "#a8402a"
HEAD_LINES = 4

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Place = tuple[int, int]


def write_sheet(rows: Sequence[Row], path: Path, *, title: str) -> None:
    """Write the contact sheet of `rows` to `path` atomically."""
    save_picture(draw_sheet(rows, title=title), path)


def draw_sheet(
    rows: Sequence[Row],
    *,
    title: str,
    tile_px: int = 192,
    max_columns: int = 8,
    max_lines: int = 24,
) -> Image.Image:
    """The rows on one RGB picture, at most `max_columns` tiles wide and `max_lines` tiles high.

    Pictures are cropped to squares of `tile_px`. Tiles that do not fit are counted in words. A
    picture that cannot be read becomes a tile of text.
    """
    shown = fit(rows, columns=max_columns, max_lines=max_lines)
    columns = max((len(row.tiles) + (row.num_more > 0) for row in shown), default=1)
    form = _Form(
        tile=tile_px,
        columns=min(max_columns, max(columns, 1)),
        has_heads=any(row.head for row in shown),
    )
    heights = [_row_height(row, form) for row in shown]
    num_left = len(rows) - len(shown)
    foot = form.margin // 2 + (2 * form.label if num_left else 0)
    sheet = Image.new("RGB", (form.width, form.top + sum(heights) + foot), GROUND)
    draw = ImageDraw.Draw(sheet)
    _draw_title(draw, title, contents(rows), form)
    y = form.top
    for row, height in zip(shown, heights, strict=True):
        _draw_row(sheet, row, y, form)
        y += height
    if num_left:
        words = f"+ {count(num_left, 'more ' + row_noun(rows))}"
        draw.text((form.margin, y), words, font=form.small, fill=MUTED)
    return sheet


@dataclass(frozen=True, kw_only=True)
class _Form:
    """The measures of a sheet in pixels, and its fonts, from the width of a tile."""

    tile: int
    columns: int
    has_heads: bool

    @property
    def gap(self) -> int:
        return self.tile // 12

    @property
    def margin(self) -> int:
        return self.tile // 3

    @property
    def label(self) -> int:
        """The height of a line of small text."""
        return self.tile // 11

    @property
    def caption(self) -> int:
        """The height under a picture: a gap and two lines."""
        return self.gap // 2 + 2 * self.label

    @property
    def cell(self) -> int:
        return self.tile + self.caption + self.gap

    @property
    def heading(self) -> int:
        """The height above a row's tiles, where the row is named."""
        return self.gap * 2 + self.label

    @property
    def left(self) -> int:
        """Where the tiles begin: after the heads and a wide gap, if there are heads."""
        return self.margin + (self.tile + 3 * self.gap if self.has_heads else 0)

    @property
    def top(self) -> int:
        return self.margin + self.tile * 2 // 5

    @property
    def width(self) -> int:
        tiles = self.columns * self.tile + (self.columns - 1) * self.gap
        # A sheet of one column must still hold its title.
        return max(self.left + tiles + self.margin, self.tile * 3)

    @cached_property
    def small(self) -> Font:
        return ImageFont.load_default(self.tile * 13 / 192)

    @cached_property
    def tiny(self) -> Font:
        return ImageFont.load_default(self.tile * 11 / 192)

    @cached_property
    def large(self) -> Font:
        return ImageFont.load_default(self.tile * 26 / 192)


def _row_height(row: Row, form: _Form) -> int:
    num_lines = -(-(len(row.tiles) + (row.num_more > 0)) // form.columns)
    head = 0
    if row.head:
        num_words = len(_wrapped(row.words, form.small, form.tile, HEAD_LINES))
        head = form.tile + form.gap + num_words * form.label + len(row.more_heads) * form.cell
    return form.heading + max(head, num_lines * form.cell) + form.gap * 2


def _draw_title(draw: ImageDraw.ImageDraw, title: str, words: str, form: _Form) -> None:
    x, y = form.margin, form.margin * 3 // 4
    for line in _wrapped(one_line(title), form.large, form.width - 2 * x, 1):
        draw.text((x, y), line, font=form.large, fill=INK)
    draw.text((x, y + 2 * form.label), words, font=form.small, fill=MUTED)


def _draw_row(sheet: Image.Image, row: Row, y: int, form: _Form) -> None:
    draw = ImageDraw.Draw(sheet)
    draw.line((form.margin, y, form.width - form.margin, y), fill=LINE)
    top = y + form.heading
    for line, head in enumerate(row.heads):
        _draw_head(sheet, head, row, (form.margin, top + line * form.cell), form)
    if not row.head:
        _draw_heading(draw, row, (form.left, y + form.gap), form)
    for position, tile in enumerate(row.tiles):
        _draw_tile(sheet, tile, _cell(position, top, form), form)
    if row.num_more:
        x, y = _cell(len(row.tiles), top, form)
        words = f"+ {row.num_more:,} more"
        middle = (x + form.tile / 2, y + form.tile / 2)
        draw.rectangle((x, y, x + form.tile - 1, y + form.tile - 1), outline=LINE)
        draw.text(middle, words, font=form.small, fill=MUTED, anchor="mm")


def _cell(position: int, top: int, form: _Form) -> Place:
    line, column = divmod(position, form.columns)
    return form.left + column * (form.tile + form.gap), top + line * form.cell


def _draw_heading(draw: ImageDraw.ImageDraw, row: Row, place: Place, form: _Form) -> None:
    """A row's title and, in what is left of the line, its words."""
    x, y = place
    width = form.width - form.margin - x
    for line in _wrapped(row.title, form.small, width, 1):
        draw.text((x, y), line, font=form.small, fill=INK)
        used = round(form.small.getlength(line)) + form.gap
        for words in _wrapped(row.words, form.small, width - used, 1):
            draw.text((x + used, y), words, font=form.small, fill=MUTED)


def _draw_head(sheet: Image.Image, head: Tile, row: Row, place: Place, form: _Form) -> None:
    """The head of the row: its kind and name above, a frame around, its words below."""
    draw = ImageDraw.Draw(sheet)
    x, y = place
    for label in _wrapped(f"{row.kind}: {head.title}", form.small, form.tile, 1):
        draw.text((x, y - form.label - form.gap // 2), label, font=form.small, fill=ACCENT)
    _draw_picture(sheet, head, place, form)
    frame = form.gap // 3
    box = (x - frame, y - frame, x + form.tile + frame - 1, y + form.tile + frame - 1)
    draw.rectangle(box, outline=ACCENT)
    below = y + form.tile + form.gap
    _draw_lines(draw, row.words, (x, below), form, max_lines=HEAD_LINES)


def _draw_tile(sheet: Image.Image, tile: Tile, place: Place, form: _Form) -> None:
    is_picture = _draw_picture(sheet, tile, place, form)
    x, y = place
    if tile.badge:
        _draw_badge(sheet, tile.badge, (x + form.tile, y + form.tile), form)
    if is_picture:
        below = (x, y + form.tile + form.gap // 2)
        _draw_lines(ImageDraw.Draw(sheet), tile.title, below, form, max_lines=2)


def _draw_picture(sheet: Image.Image, tile: Tile, place: Place, form: _Form) -> bool:
    """Draw the picture as a square, or the words if there is none; says whether it was one."""
    x, y = place
    square = (x, y, x + form.tile - 1, y + form.tile - 1)
    draw = ImageDraw.Draw(sheet)
    picture = _square(tile.picture, form.tile)
    if picture:
        sheet.paste(picture, place)
        # A picture on white would otherwise have no edge on the ground.
        draw.rectangle(square, outline=LINE)
        return True
    draw.rectangle(square, fill=PAPER)
    inner = (x + form.gap, y + form.gap)
    words = tile.title if not tile.words else f"{tile.title}. {tile.words}"
    _draw_lines(draw, words, inner, form, max_lines=8, width=form.tile - 2 * form.gap)
    return False


def _square(picture: str, side_px: int) -> Image.Image | None:
    if not picture:
        return None
    try:
        # Twice the side: a picture up to 2:1 is then cropped without being enlarged.
        image = open_picture(picture, 2 * side_px)
    except BadRecord:
        return None
    return ImageOps.fit(image, (side_px, side_px), Image.Resampling.LANCZOS)


def _draw_badge(sheet: Image.Image, badge: str, corner: Place, form: _Form) -> None:
    """A score on a light ground in the lower right corner, legible on any picture."""
    x, y = corner
    width = round(form.tiny.getlength(badge)) + form.gap
    inset = form.gap // 2
    right, bottom = x - inset, y - inset
    box = (right - width, bottom - form.label - 1, right, bottom)
    draw = ImageDraw.Draw(sheet)
    draw.rounded_rectangle(box, radius=form.gap // 4, fill=GROUND)
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    draw.text(middle, badge, font=form.tiny, fill=INK, anchor="mm")


def _draw_lines(
    draw: ImageDraw.ImageDraw,
    words: str,
    place: Place,
    form: _Form,
    *,
    max_lines: int,
    width: int | None = None,
) -> None:
    x, y = place
    for line in _wrapped(words, form.small, width or form.tile, max_lines):
        draw.text((x, y), line, font=form.small, fill=INK)
        y += form.label


def _wrapped(words: str, font: Font, width_px: int, max_lines: int) -> list[str]:
    """`words` broken into lines of at most `width_px`; the last ends in "..." if more is left.

    Breaks at spaces; a word longer than a line, or a script without spaces, breaks anywhere.
    """
    lines: list[str] = []
    rest = words
    while rest and len(lines) < max_lines:
        end = _fitting(rest, font, width_px)
        if end < len(rest):
            end = _break(rest, end)
        lines.append(rest[:end])
        rest = rest[end:].lstrip()
    if rest:
        dots = font.getlength("...")
        last = lines[-1]
        lines[-1] = last[: _fitting(last, font, width_px - dots)].rstrip(" ,.") + "..."
    return lines


def _break(words: str, end: int) -> int:
    """Where to end a line of at most `end` characters: a space, else a hyphen, else anywhere."""
    if (space := words.rfind(" ", 0, end + 1)) > 0:
        return space
    hyphen = max(words.rfind("_", 0, end), words.rfind("-", 0, end))
    return hyphen + 1 if hyphen > 0 else end


def _fitting(words: str, font: Font, width_px: float) -> int:
    """How many characters of `words` fit into `width_px`, at least one."""
    end = 1
    while end < len(words) and font.getlength(words[: end + 1]) <= width_px:
        end += 1
    return end
