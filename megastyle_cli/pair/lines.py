"""Pairs as lines, joined from the pieces of their halves; few pairs as records."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled
from megastyle_cli.compute.string_array import StringArray, append
from megastyle_cli.core.record import PROVENANCE, Record
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.pair.pair import Ids, join_halves, with_official_ids
from megastyle_cli.pair.parents import Parents
from megastyle_cli.pair.pieces import PIECES, STYLE, Pieces, Rename

Array = npt.NDArray[Any]

_OUT = 1 << 18  # bytes written at a time, but at least one line; these stay in the cache
_STYLES = 512  # cut at a time
_PARTS = 6  # of a style's part of a line


def pair_lines(
    styles: Parents,
    contents: Pieces,
    draws: Array,
    *,
    ids: Ids = "parents",
    metadata: Record,
    rename: Rename | None,
) -> Iterator[bytes]:
    """What `dump_line` writes of the records of `pair_all`, many lines at a time.

    `rename` is applied to the picture names of the styles.
    """
    joiner = Joiner(contents, draws.shape[1], ids, metadata)
    first = 0
    for lines, own in styles.batches(_STYLES):
        pieces = Pieces(STYLE)
        pieces.extend(lines, own, rename)
        yield from joiner.join(pieces, draws[first : first + len(lines)], first)
        first += len(lines)


class Joiner:
    """Joins styles with `contents` to the lines that `dump_line` writes of their pairs."""

    def __init__(self, contents: Pieces, num_draws: int, ids: Ids, metadata: Record) -> None:
        self.contents, self.ids, self.metadata = contents, ids, metadata
        self._arrays = contents.arrays()
        is_official = ids == "official"
        known = dump_line({"": metadata})[len('{"":{') : -len("}}\n")]
        before_draw = b'"pair":{%s"draw":' % (known + b"," if known else b"")
        self._template = StringArray.from_bytes(
            [
                *(b'{"id":"s', b"_c", b'","style_id":"', b'","content_id":"', b'",'),
                b'"%s":{' % PROVENANCE.encode(),
                before_draw,
                *((b',"style_id":"', b'","content_id":"') if is_official else (b"", b"")),
                b'"}}}\n' if is_official else b"}}}\n",
            ]
        )
        self._draws = StringArray.from_strings(map(str, range(num_draws)))
        numbers = range(1, len(contents) + 1) if is_official else ()
        self._numbers = StringArray.from_strings(map(str, numbers))
        self._out = np.empty(_OUT, np.uint8)

    def join(self, styles: Pieces, draws: Array, first: int) -> Iterator[bytes]:
        """The lines of the pairs of `styles` with the contents `draws` (s, n), many at a time.

        `first` is the number of the first style, counted from 0.
        """
        numbers = range(first + 1, first + 1 + len(styles)) if len(self._numbers) else ()
        own = StringArray.from_strings(map(str, numbers))
        flat, at = np.ascontiguousarray(draws, np.int32).ravel(), 0
        while at < len(flat):
            at, used, needed = _join(
                *styles.arrays(),
                *self._arrays,
                own.data,
                own.starts,
                self._numbers.data,
                self._numbers.starts,
                len(self._numbers) > 0,
                self._template.data,
                self._template.starts,
                self._draws.data,
                self._draws.starts,
                flat,
                at,
                self._out,
            )
            if used:
                yield self._out[:used].tobytes()
            elif needed:
                self._out = np.empty(needed, np.uint8)
            else:
                style, draw = divmod(at, draws.shape[1])
                yield self._join_one(styles, style, int(flat[at]), draw, first)
                at += 1

    def _join_one(self, styles: Pieces, style: int, content: int, draw: int, first: int) -> bytes:
        """The line of a pair that cannot be joined from pieces."""
        halves = styles.half(style), self.contents.half(content)
        pair = join_halves(*halves, draw, self.metadata)
        if self.ids == "official":
            pair = with_official_ids(pair, first + style + 1, content + 1)
        return dump_line(pair)


@compiled
def _join(
    styles: Array,
    style_starts: Array,
    is_odd_style: Array,
    contents: Array,
    content_starts: Array,
    is_odd_content: Array,
    style_numbers: Array,
    style_number_starts: Array,
    content_numbers: Array,
    content_number_starts: Array,
    is_official: bool,
    template: Array,
    template_starts: Array,
    draw_numbers: Array,
    draw_number_starts: Array,
    draws: Array,
    at: int,
    out: Array,
) -> tuple[int, int, int]:
    """Writes the pairs from number `at` on to `out`.

    Returns the first pair that is odd or does not fit, how many bytes were written, and how many it
    needs if it is not odd.
    """
    num_draws = len(draw_number_starts) - 1
    t = template_starts
    # what all pairs of a style have between the pieces of their contents, and where each part ends
    head, ends = np.empty(len(out), np.uint8), np.zeros(_PARTS + 1, np.int64)
    last: Any = np.int64(-1)
    used = 0
    while at < len(draws):
        style, content, draw = at // num_draws, np.int64(draws[at]), at % num_draws
        if is_odd_style[style] or is_odd_content[content]:
            return at, used, 0
        s = style_starts[PIECES * style : PIECES * (style + 1) + 1]
        c = content_starts[PIECES * content : PIECES * (content + 1) + 1]
        style_id, content_id = styles[s[0] : s[1]], contents[c[0] : c[1]]
        shown_style, shown_content = style_id, content_id
        if is_official:
            a, b = style_number_starts[style], style_number_starts[style + 1]
            shown_style = style_numbers[a:b]
            a, b = content_number_starts[content], content_number_starts[content + 1]
            shown_content = content_numbers[a:b]
        number = draw_numbers[draw_number_starts[draw] : draw_number_starts[draw + 1]]
        ids = 3 * (len(style_id) + len(content_id)) + 2 * (len(shown_style) + len(shown_content))
        needed = len(template) + len(number) + ids + (s[PIECES] - s[0]) + (c[PIECES] - c[0])
        if used + needed > len(out):
            return at, used, needed
        if style != last:
            size = append(head, 0, template[t[0] : t[1]])
            size = append(head, size, shown_style)
            size = ends[1] = append(head, size, template[t[1] : t[2]])
            size = append(head, size, template[t[2] : t[3]])
            size = append(head, size, shown_style)
            size = ends[2] = append(head, size, template[t[3] : t[4]])
            size = append(head, size, template[t[4] : t[5]])
            for piece in range(1, PIECES - 1):
                size = ends[2 + piece] = append(head, size, styles[s[piece] : s[piece + 1]])
            size = append(head, size, template[t[5] : t[6]])
            ends[_PARTS] = append(head, size, styles[s[PIECES - 1] : s[PIECES]])
            last = style
        used = append(out, used, head[: ends[1]])
        used = append(out, used, shown_content)
        used = append(out, used, head[ends[1] : ends[2]])
        used = append(out, used, shown_content)
        for piece in range(1, PIECES):
            used = append(out, used, head[ends[1 + piece] : ends[2 + piece]])
            used = append(out, used, contents[c[piece] : c[piece + 1]])
        used = append(out, used, template[t[6] : t[7]])
        used = append(out, used, number)
        if is_official:
            used = append(out, used, template[t[7] : t[8]])
            used = append(out, used, style_id)
            used = append(out, used, template[t[8] : t[9]])
            used = append(out, used, content_id)
        used = append(out, used, template[t[9] : t[10]])
        at += 1
    return at, used, 0
