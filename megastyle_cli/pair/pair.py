"""Pairs of styles and contents: which contents each style is drawn with, and the pair records."""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import ERROR, PROVENANCE, Record, canonical_json, is_blank
from megastyle_cli.core.style import ATTRIBUTE_KEYS

Array = npt.NDArray[Any]
Ids = Literal["parents", "official"]

# Keys that describe the pair itself, or images that are not the parent's own.
_OWN = {"id", "file_name", "target_file_name", "neighbors", PROVENANCE, ERROR}
_OF_STYLE = {"style", "style_id", "style_file_name", *ATTRIBUTE_KEYS}
_OF_CONTENT = {"content", "content_id", "content_file_name"}
_KNOWN = _OWN | _OF_STYLE | _OF_CONTENT


@dataclass(frozen=True, kw_only=True)
class ContentUsage:
    """How evenly the draws use the contents: contents used, and least and most uses of a content.

    `evenness` is the entropy of the uses, relative to that of equal uses.
    """

    pairs: int
    contents: int
    contents_used: int
    least_uses: int
    most_uses: int
    evenness: float


def distinct_ids(
    ids: Sequence[str], read: Callable[[list[int]], Iterable[Record]]
) -> dict[int, str]:
    """The rows of the records that differ, ascending, each with an id of its own.

    `read` gives the records of some rows. A record read twice counts once, and so does a picture
    under two names, whose id is the hash of its bytes. Of different records with one id the k-th
    further one is named `<id>_k`.
    """
    counts = Counter(ids)
    doubled = [row for row, given in enumerate(ids) if counts[given] > 1]
    contents = dict(zip(doubled, map(_identity, read(doubled)), strict=True)) if doubled else {}
    taken, used = set(counts), set[str]()
    seen, own = set[tuple[str, str]](), dict[int, str]()
    for row, given in enumerate(ids):
        name = given
        if row in contents:
            if (given, contents[row]) in seen:
                continue
            if given in used:
                further = (f"{given}_{k}" for k in count(1))
                name = next(each for each in further if each not in taken)
                taken.add(name)
            used.add(given)
            seen.add((given, contents[row]))
        own[row] = name
    return own


def with_own_ids(records: Iterable[Record], ids: Iterable[str]) -> Iterator[Record]:
    """`records` under the ids that `distinct_ids` gives them."""
    return ({**record, "id": own} for record, own in zip(records, ids, strict=True))


def _identity(record: Record) -> str:
    is_hash = re.fullmatch("[0-9a-f]{16}", record["id"]) is not None
    return canonical_json({k: v for k, v in record.items() if not (is_hash and k == "file_name")})


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
        half = _style_half(style)
        for draw, row in enumerate(rows.tolist()):
            pair = _join(half, contents[row], draw, metadata)
            yield pair if ids == "parents" else _with_official_ids(pair, number, row + 1)


def fingerprint(contents: Iterable[Record]) -> str:
    """8 hex digits over the ids and texts of the contents, in order: which contents a run used."""
    digest = hashlib.sha256()
    for record in contents:
        text = f"{record['id']}\0{_text(record, 'content') or ''}\n"
        digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:8]


def draw_all(
    style_ids: Sequence[str],
    num_contents: int,
    per_style: int,
    seed: int,
    max_uses: int | None = None,
) -> Array:
    """The rows of the contents drawn for each style, (s, min(per_style, num_contents)) int32.

    The contents of a style differ, and every set of them is equally likely. A draw depends only on
    the seed, the style's id and the number of contents, not on other styles. With `max_uses`,
    contents that are used up are replaced by random ones that are not, style by style in the given
    order. The same inputs give the same draws. Raises MegastyleError if there are too few contents.
    """
    each = min(per_style, num_contents)
    if max_uses is not None and len(style_ids) * each > num_contents * max_uses:
        least = -(-len(style_ids) * each // num_contents)
        raise MegastyleError(
            f"{len(style_ids):,} styles with {each} contents need {len(style_ids) * each:,} uses,"
            f" and {num_contents:,} contents of at most {max_uses} uses allow"
            f" {num_contents * max_uses:,}",
            hint=f"give --max-uses {least}, or more contents",
        )
    draws = np.empty((len(style_ids), each), np.int32)
    uses = None if max_uses is None else _RemainingUses(num_contents, max_uses)
    for number, style_id in enumerate(style_ids):
        rng = _rng(style_id, seed)
        drawn = rng.sample(range(num_contents), each)
        draws[number] = drawn if uses is None else uses.allocate(drawn, rng, draws[:number])
    return draws


class _RemainingUses:
    """The contents that are not used up; those are `available`, in no particular order."""

    def __init__(self, num_contents: int, max_uses: int) -> None:
        self.left = [max_uses] * num_contents
        self.available = list(range(num_contents))
        self.index = list(range(num_contents))  # of each content in `available`

    def allocate(self, drawn: list[int], rng: random.Random, earlier: Array) -> list[int]:
        """Uses the contents `drawn`, with used-up ones replaced; may change an `earlier` draw."""
        used = [row for row in drawn if self.left[row] > 0]
        for row in used:
            self._use(row)
        while len(used) < len(drawn):
            other = self._draw_other(used, rng)
            if other is None:
                other = self._exchange(used, earlier)
            else:
                self._use(other)
            used.append(other)
        return used

    def _draw_other(self, used: list[int], rng: random.Random) -> int | None:
        """A random available row that is not in `used`; None if there is none."""
        if len(self.available) <= 4 * len(used) + 4:
            others = sorted(set(self.available) - set(used))
            return rng.choice(others) if others else None
        while True:
            row = self.available[rng.randrange(len(self.available))]
            if row not in used:
                return row

    def _exchange(self, used: list[int], earlier: Array) -> int:
        """A row not in `used` that an earlier style exchanges for an available one.

        The latest style that can do so. Raises MegastyleError if none can.
        """
        for draws in earlier[::-1]:
            theirs = draws.tolist()
            released = next((row for row in theirs if row not in used), None)
            replacement = next((row for row in sorted(self.available) if row not in theirs), None)
            if released is not None and replacement is not None:
                draws[theirs.index(released)] = replacement
                self._use(replacement)
                return int(released)
        raise MegastyleError(
            "too few contents have uses left to give a style different ones",
            hint="increase --max-uses or give more contents",
        )

    def _use(self, row: int) -> None:
        self.left[row] -= 1
        if self.left[row] == 0:
            index, last = self.index[row], self.available.pop()
            if last != row:
                self.available[index] = last
                self.index[last] = index


def _rng(style_id: str, seed: int) -> random.Random:
    # canonical JSON is ASCII: an id with an unpaired surrogate could not be encoded
    return random.Random(canonical_json([seed, style_id]))


def content_usage(draws: Array, num_contents: int) -> ContentUsage:
    """How evenly `draws` (s, n), rows of contents, use `num_contents` contents."""
    uses = np.bincount(draws.ravel(), minlength=num_contents)
    shares = uses[uses > 0] / max(1, draws.size)
    bits = float(np.abs((shares * np.log2(shares)).sum()))
    return ContentUsage(
        pairs=draws.size,
        contents=num_contents,
        contents_used=int((uses > 0).sum()),
        least_uses=int(uses.min(initial=draws.size)) if num_contents else 0,
        most_uses=int(uses.max(initial=0)),
        evenness=bits / float(np.log2(num_contents)) if num_contents > 1 else 1.0,
    )


def describe_draws(draws: Array, num_contents: int, per_style: int) -> list[str]:
    """Remarks on the draws: how evenly contents are used, and whether there are too few."""
    usage = content_usage(draws, num_contents)
    remarks = []
    if per_style > num_contents:
        remarks.append(
            f"only {num_contents} contents for {per_style} per style: each style gets all of them"
        )
    remarks.append(
        f"{len(draws):,} styles, {usage.contents_used:,} of {usage.contents:,} contents used,"
        f" each {usage.least_uses:,} to {usage.most_uses:,} times"
        f" (mean {usage.pairs / max(1, usage.contents):.2f}, evenness {usage.evenness:.3f} of 1)"
    )
    return remarks


def check_style(record: Record) -> None:
    """Raises BadRecord("missing_key") unless the record has a style text or a style image."""
    if not (_text(record, "style") or _image(record, "style_file_name")):
        raise BadRecord("missing_key", "the style record has neither style nor file_name", "style")


def check_content(record: Record) -> None:
    """Raises BadRecord("missing_key") unless the record has a content text or a content image."""
    if not (_text(record, "content") or _image(record, "content_file_name")):
        raise BadRecord("missing_key", "the content record has neither content nor file_name")


@dataclass(frozen=True, kw_only=True)
class _StyleHalf:
    """The part of a pair that comes from its style, computed once; in the order of its keys."""

    id: str
    text: Record
    attributes: Record  # and the image
    unknown: Record
    provenance: Record


def _style_half(style: Record) -> _StyleHalf:
    text, image = _text(style, "style"), _image(style, "style_file_name")
    attributes = {key: style[key] for key in ATTRIBUTE_KEYS if style.get(key) is not None}
    provenance = style.get(PROVENANCE)
    return _StyleHalf(
        id=style["id"],
        text={"style": text} if text else {},
        attributes=attributes | ({"style_file_name": image} if image else {}),
        unknown={key: value for key, value in style.items() if key not in _KNOWN},
        provenance={"style": provenance} if provenance else {},
    )


def _join(style: _StyleHalf, content: Record, draw: int, metadata: Record) -> Record:
    pair: Record = {
        "id": f"s{style.id}_c{content['id']}",
        "style_id": style.id,
        "content_id": content["id"],
        **style.text,
    }
    if text := _text(content, "content"):
        pair["content"] = text
    pair |= style.attributes
    if image := _image(content, "content_file_name"):
        pair["content_file_name"] = image
    pair |= style.unknown
    # after the style's keys, so that this content's license replaces a stale content_license
    pair |= {f"content_{key}": content[key] for key in content if key not in _KNOWN}
    provenance = content.get(PROVENANCE)
    parents = {**style.provenance, "content": provenance} if provenance else style.provenance
    pair[PROVENANCE] = {**parents, "pair": {**metadata, "draw": draw}}
    return pair


def _with_official_ids(pair: Record, style: int, content: int) -> Record:
    """The pair with its official ids; its parents' own ids go to its provenance."""
    parents = {"style_id": pair["style_id"], "content_id": pair["content_id"]}
    official = {"id": f"s{style}_c{content}", "style_id": str(style), "content_id": str(content)}
    provenance = pair[PROVENANCE]
    own = {**provenance["pair"], **parents}
    return {**pair, **official, PROVENANCE: {**provenance, "pair": own}}


def _text(record: Record, key: str) -> str | None:
    """The text under `key`; None if it is missing, blank or not a string."""
    text = record.get(key)
    return text if isinstance(text, str) and not is_blank(text) else None


def _image(record: Record, key: str) -> str | None:
    """The file name of the record's own image, else the one under `key`."""
    return _text(record, "file_name") or _text(record, key)
