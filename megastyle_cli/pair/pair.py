"""Style x content: which contents a style is drawn with, and the record of one pair."""

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import ERROR, PROVENANCE, Record, canonical_json
from megastyle_cli.core.style import ATTRIBUTE_KEYS

Array = npt.NDArray[Any]
Ids = Literal["parents", "official"]

# What a pair says in its own right, and pictures that are neither of its parents' own.
_OWN = {"id", "file_name", "target_file_name", "neighbors", PROVENANCE, ERROR}
_OF_STYLE = {"style", "style_id", "style_file_name", *ATTRIBUTE_KEYS}
_OF_CONTENT = {"content", "content_id", "content_file_name"}
_KNOWN = _OWN | _OF_STYLE | _OF_CONTENT


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How the draws fell: how many contents were used at all, the least and most uses of one, and
    the entropy of the uses as a share of what equal uses would have."""

    pairs: int
    contents: int
    contents_used: int
    least_uses: int
    most_uses: int
    evenness: float


def distinct_rows(ids: Iterable[str]) -> list[int]:
    """The row of the first of each id, ascending: two parents make one pair, however often read."""
    rows: dict[str, int] = {}
    for row, parent_id in enumerate(ids):
        rows.setdefault(parent_id, row)
    return list(rows.values())


def pair_all(
    styles: Iterable[Record],
    contents: Sequence[Record],
    draws: Array,
    *,
    ids: Ids = "parents",
    metadata: Record,
) -> Iterator[Record]:
    """Every style with its contents, the rows `draws[style]` of them, style by style.

    `ids` says what a pair is called: by its parents' ids, or s{n}_c{m} with their places, from 1,
    among the styles and the contents, as in the official releases.
    """
    for number, (style, rows) in enumerate(zip(styles, draws, strict=True), start=1):
        half = _style_half(style)
        for draw, row in enumerate(rows.tolist()):
            pair = _joined(half, contents[row], draw, metadata)
            yield pair if ids == "parents" else _numbered(pair, number, row + 1)


def fingerprint(contents: Iterable[Record]) -> str:
    """8 hex digits over the ids and texts of the contents, in order: which contents a run used."""
    digest = hashlib.sha256()
    for record in contents:
        text = f"{record['id']}\0{_words(record, 'content') or ''}\n"
        digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:8]


def draw_all(
    style_ids: Sequence[str],
    num_contents: int,
    per_style: int,
    seed: int,
    max_uses: int | None = None,
) -> Array:
    """The rows (s, min(per_style, num_contents)) int32 of the contents each style is drawn with.

    As `draw_contents`. With `max_uses` a content that is used up is replaced by one with room,
    drawn from all that have: the styles choose in their order, and the same inputs give the same
    draws. Raises MegastyleError if the contents do not suffice.
    """
    each = min(per_style, num_contents)
    if max_uses is not None and len(style_ids) * each > num_contents * max_uses:
        least = -(-len(style_ids) * each // num_contents)
        raise MegastyleError(
            f"{len(style_ids):,} styles with {each} contents need {len(style_ids) * each:,} uses,"
            f" and {num_contents:,} contents of at most {max_uses} uses allow"
            f" {num_contents * max_uses:,}",
            hint=f"give --max-uses {least} or more contents",
        )
    draws = np.empty((len(style_ids), each), np.int32)
    room = None if max_uses is None else _Room(num_contents, max_uses)
    for number, style_id in enumerate(style_ids):
        rng = _rng(style_id, seed)
        drawn = rng.sample(range(num_contents), each)
        draws[number] = drawn if room is None else room.fitted(drawn, rng, draws[:number])
    return draws


class _Room:
    """Which contents have uses left; those that have stand in a list in no particular order."""

    def __init__(self, num_contents: int, max_uses: int) -> None:
        self.left = [max_uses] * num_contents
        self.open = list(range(num_contents))
        self.place = list(range(num_contents))

    def fitted(self, drawn: list[int], rng: random.Random, earlier: Array) -> list[int]:
        """`drawn`, its used-up rows replaced, all taken; may change one row of `earlier` draws."""
        fitted = [row for row in drawn if self.left[row] > 0]
        for row in fitted:
            self._take(row)
        while len(fitted) < len(drawn):
            other = self._other(fitted, rng)
            fitted.append(self._exchanged(fitted, earlier) if other is None else other)
        return fitted

    def _other(self, taken: list[int], rng: random.Random) -> int | None:
        """Takes an open row that is not in `taken`; None if there is none."""
        if len(self.open) <= 4 * len(taken) + 4:
            others = sorted(set(self.open) - set(taken))
            row: int | None = rng.choice(others) if others else None
        else:
            row = self.open[rng.randrange(len(self.open))]
            while row in taken:
                row = self.open[rng.randrange(len(self.open))]
        if row is not None:
            self._take(row)
        return row

    def _exchanged(self, taken: list[int], earlier: Array) -> int:
        """A row that an earlier style, the latest that can, gives up for one that is open."""
        for draws in earlier[::-1]:
            has = draws.tolist()
            give = next((row for row in has if row not in taken), None)
            get = next((row for row in sorted(self.open) if row not in has), None)
            if give is not None and get is not None:
                draws[has.index(give)] = get
                self._take(get)
                return int(give)
        raise MegastyleError(
            "the contents with uses left are too few to differ within a style",
            hint="give a higher --max-uses or more contents",
        )

    def _take(self, row: int) -> None:
        self.left[row] -= 1
        if self.left[row] == 0:
            place, last = self.place[row], self.open.pop()
            if last != row:
                self.open[place] = last
                self.place[last] = place


def draw_contents(style_id: str, num_contents: int, per_style: int, seed: int) -> list[int]:
    """Rows of min(per_style, num_contents) different contents for one style, in the order drawn.

    Every set of contents is equally likely. The draw depends on the seed, the style's id and the
    number of contents alone, not on other styles or their order.
    """
    rows: list[int] = draw_all([style_id], num_contents, per_style, seed)[0].tolist()
    return rows


def _rng(style_id: str, seed: int) -> random.Random:
    # ASCII on purpose: an id with an unpaired surrogate could not be encoded
    return random.Random(canonical_json([seed, style_id]))


def coverage(draws: Array, num_contents: int) -> Coverage:
    """The figures of `draws` (s, n), the rows of `num_contents` contents."""
    uses = np.bincount(draws.ravel(), minlength=num_contents)
    shares = uses[uses > 0] / max(1, draws.size)
    bits = float(np.abs((shares * np.log2(shares)).sum()))
    return Coverage(
        pairs=draws.size,
        contents=num_contents,
        contents_used=int((uses > 0).sum()),
        least_uses=int(uses.min(initial=draws.size)) if num_contents else 0,
        most_uses=int(uses.max(initial=0)),
        evenness=bits / float(np.log2(num_contents)) if num_contents > 1 else 1.0,
    )


def summary(draws: Array, num_contents: int, per_style: int) -> list[str]:
    """The lines to print about the draws: coverage, balance, and too few contents."""
    found = coverage(draws, num_contents)
    remarks = [
        f"{len(draws):,} styles, {found.contents_used:,} of {found.contents:,} contents used,"
        f" each {found.least_uses:,} to {found.most_uses:,} times"
        f" (mean {found.pairs / max(1, found.contents):.2f}, evenness {found.evenness:.3f} of 1)"
    ]
    if per_style > num_contents:
        few = f"only {num_contents} contents for {per_style} a style: each style gets all of them"
        remarks.insert(0, few)
    return remarks


def check_style(record: Record) -> None:
    """Raises BadRecord("missing_key") unless the record has a style text or a style picture."""
    if not (_words(record, "style") or _picture(record, "style_file_name")):
        raise BadRecord("missing_key", "the style record has neither style nor file_name")


def check_content(record: Record) -> None:
    """Raises BadRecord("missing_key") unless the record has a content text or a content picture."""
    if not (_words(record, "content") or _picture(record, "content_file_name")):
        raise BadRecord("missing_key", "the content record has neither content nor file_name")


def pair_record(style: Record, content: Record, draw: int, **metadata: Any) -> Record:
    """The record of a style with a content: what synth renders.

    Style words, attributes and unknown keys come from the style record; the content text comes from
    the content record, and its unknown keys with the prefix `content_` (as `content_cluster`).
    `metadata` and `draw` go to `_megastyle.pair`, beside both parents' provenance.
    """
    return _joined(_style_half(style), content, draw, metadata)


@dataclass(frozen=True, kw_only=True)
class _StyleHalf:
    """What a style gives to each of its pairs, in the three places where it stands."""

    id: str
    words: Record
    attributes: Record
    rest: Record
    notes: Record


def _style_half(style: Record) -> _StyleHalf:
    words, picture = _words(style, "style"), _picture(style, "style_file_name")
    attributes = {key: style[key] for key in ATTRIBUTE_KEYS if style.get(key) is not None}
    notes = style.get(PROVENANCE)
    return _StyleHalf(
        id=style["id"],
        words={"style": words} if words else {},
        attributes=attributes | ({"style_file_name": picture} if picture else {}),
        rest={key: value for key, value in style.items() if key not in _KNOWN},
        notes={"style": notes} if notes else {},
    )


def _joined(style: _StyleHalf, content: Record, draw: int, metadata: Record) -> Record:
    pair: Record = {
        "id": f"s{style.id}_c{content['id']}",
        "style_id": style.id,
        "content_id": content["id"],
        **style.words,
    }
    if words := _words(content, "content"):
        pair["content"] = words
    pair |= style.attributes
    if picture := _picture(content, "content_file_name"):
        pair["content_file_name"] = picture
    pair |= style.rest
    # after the style's: a style's stale content_license must not stand for this content's
    pair |= {f"content_{key}": content[key] for key in content if key not in _KNOWN}
    notes = content.get(PROVENANCE)
    parents = {**style.notes, "content": notes} if notes else style.notes
    pair[PROVENANCE] = {**parents, "pair": {**metadata, "draw": draw}}
    return pair


def _numbered(pair: Record, style: int, content: int) -> Record:
    """The pair under its official id; its parents' own ids go to its provenance."""
    parents = {"style_id": pair["style_id"], "content_id": pair["content_id"]}
    names = {"id": f"s{style}_c{content}", "style_id": str(style), "content_id": str(content)}
    notes = pair[PROVENANCE]
    return {**pair, **names, PROVENANCE: {**notes, "pair": {**notes["pair"], **parents}}}


def _words(record: Record, key: str) -> str | None:
    """The text at `key`; None if it is absent, blank or not a text."""
    text = record.get(key)
    return text if isinstance(text, str) and text.strip() else None


def _picture(record: Record, key: str) -> str | None:
    """The record's own picture, else the one at `key`."""
    return _words(record, "file_name") or _words(record, key)
