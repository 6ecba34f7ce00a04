"""Which records a benchmark is made of: filters, styles, contents, queries.

Modelled on StyleRetrieval of MegaStyle (2,400 held-out styles of 32 contents each), whose selection
and split are not published; the rules here are ours. Every draw is a hash of the seed and of names,
so neither the order of the records nor styles that are not drawn change it. The exception are
shared contents where few styles share enough of them.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from megastyle_cli.benchmark.pixel_hash import file_pixel_hash
from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Record, record_seed
from megastyle_cli.evaluate.labels import label_of

RECIPE = 3  # the version of these rules
SPLIT_KEY = "benchmark"
QUERY, GALLERY = "query", "gallery"
FIRST_STYLES = 32  # tried as the first of those that share contents
CONTENTS_PER_QUERY = 4  # one content in this many is a query, at least one per style
log = logging.getLogger(__name__)
# the records of each content of each style
Cells = Mapping[str, Mapping[str, Sequence[Record]]]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """How records are selected.

    `styles` styles of `per_style` contents each, `queries` of them (default: one in four). `label`,
    `content_label` and `group` are the keys of a record's style, of its content, and of the design
    that its style shares with others. `one_per_group` draws at most one style of a design;
    `shared_contents` draws the same contents for all styles.
    """

    styles: int
    per_style: int
    seed: int = 0
    label: str = "style_id"
    content_label: str = "content_id"
    queries: int | None = None
    group: str | None = None
    one_per_group: bool = False
    shared_contents: bool = False

    @property
    def num_queries(self) -> int:
        """The number of queries per style."""
        return self.queries or max(1, self.per_style // CONTENTS_PER_QUERY)


def parse_filters(texts: Iterable[str]) -> dict[str, list[str]]:
    """The accepted values by key of texts KEY=VALUE. Raises MegastyleError if one is none."""
    filters: dict[str, list[str]] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not (key and sign):
            raise MegastyleError(
                f"--where is {text!r}, not KEY=VALUE", hint="for example license=MIT"
            )
        filters.setdefault(key, []).append(value)
    return filters


def keep_where(records: Iterable[Record], filters: Mapping[str, Sequence[str]]) -> Iterable[Record]:
    """The records that have one of the accepted values under every key.

    Raises MegastyleError if records were given and none is left.
    """
    number = kept = 0
    for record in records:
        number += 1
        if all(label_of(record, key) in values for key, values in filters.items()):
            kept += 1
            yield record
    if filters and number and not kept:
        wanted = " and ".join(f"{key}={' or '.join(v)}" for key, v in filters.items())
        raise MegastyleError(f"none of {number:,} records has {wanted}", hint="check --where")


def select_records(records: Iterable[Record], selection: Selection) -> list[Record]:
    """The selected records, each marked query or gallery; ordered by style, as drawn.

    A record is eligible if it has an image, a style and a content; of several with the same two,
    the one with the lowest pixel hash is taken. Styles share contents where they can. Raises
    MegastyleError if too few styles have enough contents, if a style has several groups, or if one
    of several images cannot be read.
    """
    cells = _cells(records, selection)
    if selection.num_queries >= selection.per_style:
        raise MegastyleError(
            f"--queries {selection.num_queries} leaves no gallery: --per-style is"
            f" {selection.per_style}",
            hint="lower --queries or raise --per-style",
        )
    eligible = _eligible(cells, selection)
    shared: list[str] | None = None
    if selection.shared_contents:
        shared, eligible = _shared_contents(cells, eligible, selection)
    seed, selected = selection.seed, list[Record]()
    for style in _draw(eligible, selection.styles, seed, "style"):
        contents = shared or _draw(list(cells[style]), selection.per_style, seed, "content")
        queries = _draw(contents, selection.num_queries, seed, f"query {style}")
        for content in contents:
            part = QUERY if content in queries else GALLERY
            selected.append({**_first(cells[style][content]), SPLIT_KEY: part})
    return selected


def group_of(record: Record, group: str | None, label: str) -> str:
    """The design of a record's style: its label under `group`, else the style itself."""
    own = label_of(record, group) if group else None
    return own if own is not None else str(label_of(record, label))


def content_counts(records: Sequence[Record], label: str, content_label: str) -> Record:
    """How far the styles share contents: `distinct` contents, those `in_all_styles`, and the
    smallest number of styles that one content is in (`fewest_styles`)."""
    styles_of: dict[str, set[str]] = {}
    for record in records:
        content = str(label_of(record, content_label))
        styles_of.setdefault(content, set()).add(str(label_of(record, label)))
    num_styles = len({label_of(record, label) for record in records})
    sizes = [len(styles) for styles in styles_of.values()]
    return {
        "distinct": len(sizes),
        "in_all_styles": sizes.count(num_styles),
        "fewest_styles": min(sizes),
    }


def _cells(records: Iterable[Record], selection: Selection) -> Cells:
    cells: dict[str, dict[str, list[Record]]] = {}
    has_content = False
    for record in records:
        style = label_of(record, selection.label)
        content = label_of(record, selection.content_label)
        has_content = has_content or content is not None
        if style and content and record.get("file_name"):
            cells.setdefault(style, {}).setdefault(content, []).append(record)
    if not has_content:
        raise MegastyleError(
            f"no record has a content ({selection.content_label})",
            hint="name the key of the content with --content-label",
        )
    return cells


def _eligible(cells: Cells, selection: Selection) -> list[str]:
    """The styles with enough contents; of each group the first in the draw if only one may be."""
    enough = [style for style, own in cells.items() if len(own) >= selection.per_style]
    groups = {style: _group_of_style(cells[style], selection) for style in enough}
    if selection.one_per_group:
        ordered = _draw(enough, len(enough), selection.seed, "style")
        enough = list({groups[style]: style for style in reversed(ordered)}.values())
    if len(enough) < selection.styles:
        what = f"groups ({selection.group})" if selection.one_per_group else "styles"
        raise MegastyleError(
            f"{len(enough)} of {len(cells)} {what} ({selection.label}) have at least"
            f" {selection.per_style} contents ({selection.content_label}), but --styles is"
            f" {selection.styles}",
            hint="lower --styles or --per-style, or check --label and --content-label",
        )
    return enough


def _group_of_style(own: Mapping[str, Sequence[Record]], selection: Selection) -> str:
    label = selection.label
    groups = {group_of(r, selection.group, label) for cell in own.values() for r in cell}
    if len(groups) > 1:
        style = label_of(next(iter(own.values()))[0], label)
        raise MegastyleError(
            f"style {style} is in {len(groups)} groups ({selection.group}):"
            f" {', '.join(sorted(groups)[:3])}",
            hint="give --group a key that has one value per style",
        )
    return groups.pop()


def _shared_contents(
    cells: Cells, eligible: Sequence[str], selection: Selection
) -> tuple[list[str], list[str]]:
    """Styles, and contents that all of them have.

    Styles are taken in the order of their draw, each if the styles taken so far still share enough
    contents with it; if too few can be taken, again without the first one. Of the contents that all
    taken styles have, the first in the draw are chosen. So a style that is not taken changes
    nothing. Where this finds too few styles, see `_commonest_contents`.
    """
    ordered = _draw(eligible, len(eligible), selection.seed, "style")
    for start in range(min(FIRST_STYLES, len(ordered) - selection.styles + 1)):
        taken, shared = _sharing(cells, ordered[start:], selection)
        if len(taken) == selection.styles:
            return _draw(list(shared), selection.per_style, selection.seed, "content"), taken
    found = _commonest_contents(cells, eligible, selection)
    log.warning(
        "few styles share %d contents: those that most styles have are taken, so other styles in"
        " the data set would change them",
        selection.per_style,
    )
    return found


def _sharing(
    cells: Cells, ordered: Sequence[str], selection: Selection
) -> tuple[list[str], set[str]]:
    """The first style and those after it that share enough contents, and these contents."""
    taken, shared = [ordered[0]], set(cells[ordered[0]])
    for style in ordered[1:]:
        if len(taken) == selection.styles:
            break
        still = shared & cells[style].keys()
        if len(still) >= selection.per_style:
            taken.append(style)
            shared = still
    return taken, shared


def _commonest_contents(
    cells: Cells, eligible: Sequence[str], selection: Selection
) -> tuple[list[str], list[str]]:
    """Contents, each chosen so that most of the remaining styles have it, and these styles."""
    every = {content for style in eligible for content in cells[style]}
    names = _draw(list(every), len(every), selection.seed, "content")
    has = np.array([[name in cells[style] for name in names] for style in eligible])
    remaining, chosen = np.ones(len(eligible), bool), list[int]()
    for _ in range(selection.per_style):
        counts = has[remaining].sum(axis=0)
        counts[chosen] = -1
        chosen.append(int(counts.argmax()))  # ties: the first in the draw
        remaining &= has[:, chosen[-1]]
    if remaining.sum() < selection.styles:
        raise MegastyleError(
            f"{remaining.sum()} styles share {selection.per_style} contents"
            f" ({selection.content_label}), but --styles is {selection.styles}",
            hint="lower --styles or --per-style, or omit --shared-contents",
        )
    return [names[at] for at in chosen], [eligible[at] for at in np.flatnonzero(remaining).tolist()]


def _first(cell: Sequence[Record]) -> Record:
    if len(cell) == 1:
        return cell[0]
    try:
        return min(cell, key=lambda record: (file_pixel_hash(record["file_name"]), record["id"]))
    except BadRecord as bad:
        raise MegastyleError(bad.message, hint="repair it, or remove its record") from bad


def _draw(names: Sequence[str], count: int, seed: int, purpose: str) -> list[str]:
    """The `count` names with the lowest hashes of seed, purpose and name."""
    return sorted(names, key=lambda name: (record_seed(seed, f"{purpose} {name}"), name))[:count]
