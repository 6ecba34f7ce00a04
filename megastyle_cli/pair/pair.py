"""Pairs of styles and contents as records."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy.typing as npt

from megastyle_cli.core.record import PROVENANCE, Record
from megastyle_cli.pair.halves import Half, content_half, style_half

Array = npt.NDArray[Any]
Ids = Literal["parents", "official"]


def pair_all(
    styles: Iterable[Record],
    contents: Sequence[Record],
    draws: Array,
    *,
    ids: Ids = "parents",
    metadata: Record,
) -> Iterator[Record]:
    """The records of the pairs of each style with its contents, the rows `draws[style]`.

    The style text, attributes and unknown keys come from the style record. The content text comes
    from the content record, and its unknown keys get the prefix `content_` (`content_cluster`).
    `metadata` and the number of the draw go to `_megastyle.pair`, beside the provenance of both
    parents. With `ids` "parents" a pair's id consists of its parents' ids; with "official" it is
    s{n}_c{m} with the numbers, from 1, of the style and the content, as in the official releases.
    """
    for number, (style, rows) in enumerate(zip(styles, draws, strict=True), start=1):
        half = style_half(style)
        for draw, row in enumerate(rows.tolist()):
            pair = join_halves(half, content_half(contents[row]), draw, metadata)
            yield pair if ids == "parents" else with_official_ids(pair, number, row + 1)


def join_halves(style: Half, content: Half, draw: int, metadata: Record) -> Record:
    """The pair of two halves, the `draw`-th of its style."""
    # the content's own keys last: its license replaces a stale content_license of the style
    return {
        "id": f"s{style.id}_c{content.id}",
        "style_id": style.id,
        "content_id": content.id,
        **style.text,
        **content.text,
        **style.more,
        **content.more,
        **style.unknown,
        **content.unknown,
        PROVENANCE: {
            **style.provenance,
            **content.provenance,
            "pair": {**metadata, "draw": draw},
        },
    }


def with_official_ids(pair: Record, style: int, content: int) -> Record:
    """The pair with its official ids; its parents' own ids go to its provenance."""
    parents = {"style_id": pair["style_id"], "content_id": pair["content_id"]}
    official = {"id": f"s{style}_c{content}", "style_id": str(style), "content_id": str(content)}
    provenance = pair[PROVENANCE]
    own = {**provenance["pair"], **parents}
    return {**pair, **official, PROVENANCE: {**provenance, "pair": own}}
