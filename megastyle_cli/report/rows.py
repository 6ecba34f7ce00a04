"""Records arranged for viewing: a row per style, query or cluster, with a tile per picture."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from megastyle_cli.core.record import PROVENANCE, Record
from megastyle_cli.report.style_name import is_readable, picture_stem, style_name

Kind = Literal["query", "style", "cluster", "all"]

MAX_CHARACTERS = 1200  # a longer prompt would fill the page by itself
NUM_TYPICAL = 2
FACTS = {
    "score": "score",
    "style_score": "style score",
    "text_score": "text score",
    "cluster": "cluster",
    "seed": "seed",
    "width": "pixels",
    "id": "id",
    "file_name": "picture",
    "content_file_name": "content picture",
}


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One record to look at; `facts` are labelled values in order.

    `picture` and `content`, the photograph it was made from, are paths or "".
    """

    picture: str
    title: str
    words: str
    badge: str
    alt: str
    id: str
    content: str = ""
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Row:
    """Tiles that belong together; `head` is their style reference or query.

    A mix of styles has `more_heads`. `size` counts all members, shown or not; `key` names the row
    among those of its kind. A row of all has no title.
    """

    kind: Kind
    key: str
    title: str
    words: str
    head: Tile | None
    tiles: tuple[Tile, ...]
    size: int
    more_heads: tuple[Tile, ...] = ()

    @property
    def heads(self) -> tuple[Tile, ...]:
        """All that the tiles answer to."""
        return (self.head, *self.more_heads) if self.head else ()

    @property
    def num_more(self) -> int:
        """How many members have no tile."""
        return self.size - len(self.tiles)


def rows_of(
    records: Iterable[Record], *, max_tiles: int = 200, gallery: Mapping[str, Record] = {}
) -> list[Row]:
    """The rows that the keys of the records call for, each with its first `max_tiles` tiles.

    With `neighbors`: a row per query. With `style_file_name`: a row per style. With `cluster`: a
    row per cluster, largest first. Otherwise one row of all. A record that was clustered last
    counts as clustered, though it may carry its style's picture. Rows keep the order of the
    records. `gallery` holds by id what is known of neighbors.
    """
    members: dict[tuple[Kind, str], list[Record]] = {}
    sizes: Counter[tuple[Kind, str]] = Counter()
    for position, record in enumerate(records):
        kind = _kind(record)
        group = (kind, str(position) if kind == "query" else _group(kind, record))
        sizes[group] += 1
        if len(members.setdefault(group, [])) < max_tiles:
            members[group].append(record)
    order = sorted(members, key=lambda group: -sizes[group] if group[0] == "cluster" else 0)
    return [_row(kind, key, members[kind, key], sizes[kind, key], gallery) for kind, key in order]


def fit(rows: Sequence[Row], *, columns: int, max_lines: int) -> list[Row]:
    """The first rows, their tiles cut so that all fit on `max_lines` lines of `columns` tiles.

    Every row gets an equal number of lines, at least one. A cut row leaves one place free, for
    the words that say how many more there are.
    """
    places = columns * max(1, max_lines // max(1, len(rows)))
    shown = rows[:max_lines]
    return [r if r.size <= places else replace(r, tiles=r.tiles[: places - 1]) for r in shown]


def contents(rows: Sequence[Row]) -> str:
    """What the rows hold, in words: "6 styles, 48 images"; a lone row is not counted."""
    kinds = {row.kind for row in rows}
    tiles = [tile for row in rows for tile in row.tiles]
    noun = "image" if all(tile.picture for tile in tiles) else "record"
    members = count(sum(row.size for row in rows), "neighbor" if kinds == {"query"} else noun)
    return members if len(rows) < 2 else f"{count(len(rows), row_noun(rows))}, {members}"


def legend(rows: Sequence[Row]) -> str:
    """An explanation of the numbers on the tiles; "" if there are none."""
    has_numbers = any(tile.badge for row in rows for tile in row.tiles)
    if not has_numbers:
        return ""
    if any(row.kind == "query" for row in rows):
        return "The number on an image is its similarity to the query (at most 1)."
    return "The number on an image is its style score: its cosine with the style reference."


def row_noun(rows: Sequence[Row]) -> str:
    """The noun for a row: "style", "query", "cluster", or "row" if there are several kinds."""
    kinds = {row.kind for row in rows}
    kind = kinds.pop() if len(kinds) == 1 else "all"
    return "row" if kind == "all" else kind


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 record", "1,200 records"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {_plural(noun)}"


def format_number(value: Any) -> str:
    """A number as people read it: 1,200, 0.702 or 48.6; "" for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def one_line(words: str) -> str:
    """`words` as one line of printable characters, cut if it is very long.

    Half a surrogate pair, which JSON and file names may hold, is not printable: UTF-8 refuses it.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    return line if len(line) <= MAX_CHARACTERS else f"{line[:MAX_CHARACTERS]}..."


def _plural(noun: str) -> str:
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def _kind(record: Record) -> Kind:
    if isinstance(record.get("neighbors"), list):
        return "query"
    notes = record.get(PROVENANCE)
    last_command = next(reversed(notes), "") if isinstance(notes, dict) else ""
    is_clustered = isinstance(record.get("cluster"), int)
    # A picture rendered from a clustered style carries both keys: the last command decides.
    if is_clustered and last_command == "cluster":
        return "cluster"
    if _picture(record, "style_file_name"):
        return "style"
    return "cluster" if is_clustered else "all"


def _group(kind: Kind, record: Record) -> str:
    if kind == "style":
        return _words(record, "style_id") or one_line(_picture(record, "style_file_name"))
    return str(record["cluster"]) if kind == "cluster" else ""


def _row(
    kind: Kind, key: str, members: list[Record], size: int, gallery: Mapping[str, Record]
) -> Row:
    if kind == "query":
        return _query_row(members[0], gallery)
    tiles = tuple(tile_of(record) for record in members)
    if kind == "style":
        return _style_row(key, members[0], tiles, size)
    if kind == "cluster":
        title = f"cluster {key} - {count(size, 'record')}"
        words = " / ".join(typical([tile.words or tile.title for tile in tiles]))
        return Row(kind=kind, key=key, title=title, words=words, head=None, tiles=tiles, size=size)
    return Row(kind=kind, key=key, title="", words="", head=None, tiles=tiles, size=size)


def with_mix(row: Row, mix: Sequence[tuple[str, float]]) -> Row:
    """The row of images in a mix of styles: a picture and its share of 1 for each."""
    names = [picture_stem(picture) for picture, _ in mix]
    labels = [f"{name}, {100 * share:.0f} %" for name, (_, share) in zip(names, mix, strict=True)]
    head, *others = (
        Tile(
            picture=picture, title=label, words="", badge="", alt=f"Style reference: {label}", id=""
        )
        for label, (picture, _) in zip(labels, mix, strict=True)
    )
    title = " and ".join(names)
    return replace(row, title=title, words="", head=head, more_heads=tuple(others))


def _query_row(query: Record, gallery: Mapping[str, Record]) -> Row:
    found = [each for each in query["neighbors"] if isinstance(each, dict)]
    known = [{**gallery.get(_words(each, "id"), {}), **each} for each in found]
    tiles = [tile_of(each) for each in known]
    head = tile_of(query)
    title = one_line(style_name(query)) if head.picture else head.title
    return Row(
        kind="query",
        key=_words(query, "id") or title,
        title=title,
        words=_words(query, "style"),
        head=replace(head, title=title, alt=f"Query: {title}"),
        tiles=tuple(
            tile if is_readable(tile.title) else replace(tile, title=f"neighbor {rank}")
            for rank, tile in enumerate(tiles, 1)
        ),
        size=len(tiles),
    )


def _style_row(key: str, first: Record, tiles: tuple[Tile, ...], size: int) -> Row:
    picture = _picture(first, "style_file_name")
    title, words = one_line(style_name(first)), _words(first, "style")
    head = Tile(
        picture=picture,
        title=title,
        words=words,
        badge="",
        alt=f"Style reference: {title}",
        id=key,
    )
    return Row(kind="style", key=key, title=title, words=words, head=head, tiles=tiles, size=size)


def tile_of(record: Record) -> Tile:
    """The record as a tile, whatever row it is in."""
    title, words = _title(record), _words(record, "style")
    facts = [(name, _fact(record, key)) for key, name in FACTS.items()]
    return Tile(
        picture=_picture(record),
        title=title,
        words="" if words == title else words,
        badge=_score(record.get("score", record.get("style_score"))),
        alt=title,
        id=_words(record, "id"),
        content=_picture(record, "content_file_name"),
        facts=tuple((name, value) for name, value in facts if value),
    )


def _fact(record: Record, key: str) -> str:
    value = record.get(key)
    if key == "width":
        sides = [_words(record, side) for side in ("width", "height")]
        return " x ".join(sides) if all(sides) else ""
    # Only a float is rounded: a seed or a cluster is a name that happens to be a number.
    return format_number(value) if isinstance(value, float) else _words(record, key)


def _title(record: Record) -> str:
    """The title of a record: its content, else its text, its picture's name or its style's."""
    words = _words(record, "content") or _words(record, "text")
    stems = [picture_stem(_picture(record, key)) for key in ("file_name", "content_file_name")]
    return words or one_line(next(filter(is_readable, stems), stems[-1]) or style_name(record))


def _picture(record: Record, key: str = "file_name") -> str:
    """The picture's path, untouched, since it will be opened; "" if there is none."""
    name = record.get(key)
    return name if isinstance(name, str) else ""


def _words(record: Record, key: str) -> str:
    """A key's value as one line to read, cut if it is very long; "" if absent or no scalar."""
    value = record.get(key)
    return one_line(str(value)) if isinstance(value, str | int | float) else ""


def _score(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:.2f}" if is_number else ""


def typical(sentences: Sequence[str]) -> list[str]:
    """The sentences whose words most of the others share; ties go to the earlier one.

    Source: ours, the mean share of sentences that a word of the sentence occurs in.
    """
    distinct = list(dict.fromkeys(sentences))
    words = {sentence: set(sentence.lower().split()) for sentence in distinct}
    spread = Counter(word for sentence in sentences for word in words[sentence])

    def shared(sentence: str) -> float:
        return sum(spread[word] for word in words[sentence]) / max(1, len(words[sentence]))

    return sorted(distinct, key=shared, reverse=True)[:NUM_TYPICAL]
