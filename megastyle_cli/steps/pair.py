"""Style x content: which contents a style is drawn with, and the record of one pair."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from megastyle_cli.errors import BadRecord
from megastyle_cli.record import ERROR, PROVENANCE, Record, canonical_json
from megastyle_cli.style import ATTRIBUTE_KEYS

# What a pair says in its own right, and pictures that are neither of its parents' own.
_OWN = {"id", "file_name", "target_file_name", "neighbors", PROVENANCE, ERROR}
_OF_STYLE = {"style", "style_id", "style_file_name", *ATTRIBUTE_KEYS}
_OF_CONTENT = {"content", "content_id", "content_file_name"}


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How the draws fell: how many contents were used at all, and the most uses of one."""

    pairs: int
    contents: int
    contents_used: int
    most_uses: int


def distinct_rows(ids: Iterable[str]) -> list[int]:
    """The row of the first of each id, ascending: two parents make one pair, however often read."""
    rows: dict[str, int] = {}
    for row, parent_id in enumerate(ids):
        rows.setdefault(parent_id, row)
    return list(rows.values())


def pair_all(
    styles: Iterable[Record],
    contents: Sequence[Record],
    *,
    per_style: int,
    seed: int,
    facts: dict[str, Any],
    remark: Callable[[str], None],
) -> Iterator[Record]:
    """Every style with its drawn contents, style by style; `remark` is told the coverage."""
    if per_style > len(contents):
        remark(
            f"only {len(contents)} contents for {per_style} a style: each style gets all of them"
        )
    uses, num_styles = [0] * len(contents), 0
    for style in styles:
        num_styles += 1
        for draw, row in enumerate(draw_contents(style["id"], len(contents), per_style, seed)):
            uses[row] += 1
            yield pair_record(style, contents[row], draw, **facts)
    told = coverage(uses)
    remark(
        f"{num_styles:,} styles, {told.contents_used:,} of {told.contents:,} contents used,"
        f" each at most {told.most_uses:,} times"
    )


def draw_contents(style_id: str, num_contents: int, per_style: int, seed: int) -> list[int]:
    """Rows of min(per_style, num_contents) different contents for one style, in the order drawn.

    Every set of contents is equally likely. The draw depends on the seed, the style's id and the
    number of contents alone, not on other styles or their order.
    """
    # ASCII on purpose: an id with an unpaired surrogate could not be encoded
    rng = random.Random(canonical_json([seed, style_id]))
    return rng.sample(range(num_contents), min(per_style, num_contents))


def coverage(uses: Sequence[int]) -> Coverage:
    """The figures of `uses`, how often each content was drawn."""
    used = sum(count > 0 for count in uses)
    most = max(uses, default=0)
    return Coverage(pairs=sum(uses), contents=len(uses), contents_used=used, most_uses=most)


def check_style(record: Record) -> None:
    """Raises BadRecord("missing_key") unless the record has a style text or a style picture."""
    if not (_words(record, "style") or _picture(record, "style_file_name")):
        raise BadRecord("missing_key", "the style record has neither style nor file_name")


def check_content(record: Record) -> None:
    """Raises BadRecord("missing_key") unless the record has a content text or a content picture."""
    if not (_words(record, "content") or _picture(record, "content_file_name")):
        raise BadRecord("missing_key", "the content record has neither content nor file_name")


def pair_record(style: Record, content: Record, draw: int, **facts: Any) -> Record:
    """The record of a style with a content: what synth renders.

    Style words, attributes and unknown keys come from the style record; the content text comes from
    the content record, and its unknown keys with the prefix `content_` (as `content_cluster`).
    `facts` and `draw` go to `_megastyle.pair`, beside both parents' provenance.
    """
    pair = {
        "id": f"s{style['id']}_c{content['id']}",
        "style_id": style["id"],
        "content_id": content["id"],
        "style": _words(style, "style"),
        "content": _words(content, "content"),
        **{key: style[key] for key in ATTRIBUTE_KEYS if key in style},
        "style_file_name": _picture(style, "style_file_name"),
        "content_file_name": _picture(content, "content_file_name"),
    }
    told = {key: value for key, value in pair.items() if value is not None}
    known = _OWN | _OF_STYLE | _OF_CONTENT
    from_style = {key: value for key, value in style.items() if key not in known}
    # after the style's: a style's stale content_license must not stand for this content's
    from_content = {f"content_{key}": content[key] for key in content if key not in known}
    notes = {"style": style.get(PROVENANCE), "content": content.get(PROVENANCE)}
    parents = {parent: note for parent, note in notes.items() if note}
    return {
        **told,
        **from_style,
        **from_content,
        PROVENANCE: {**parents, "pair": {**facts, "draw": draw}},
    }


def _words(record: Record, key: str) -> str | None:
    """The text at `key`; None if it is absent, blank or not a text."""
    text = record.get(key)
    return text if isinstance(text, str) and text.strip() else None


def _picture(record: Record, key: str) -> str | None:
    """The record's own picture, else the one at `key`."""
    return _words(record, "file_name") or _words(record, key)
