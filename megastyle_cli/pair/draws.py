"""Which contents each style is drawn with, and how evenly that uses the contents."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.pair.samples import samples

Array = npt.NDArray[Any]


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
    # ASCII: an id with an unpaired surrogate could not be encoded
    seeds = (f"[{seed},{encode_basestring_ascii(style_id)}]" for style_id in style_ids)
    if max_uses is None:
        for number, sample in enumerate(samples(seeds, num_contents, each)):
            draws[number] = sample
        return draws
    uses = _RemainingUses(num_contents, max_uses)
    for number, text in enumerate(seeds):
        rng = random.Random(text)
        drawn = rng.sample(range(num_contents), each)
        draws[number] = uses.allocate(drawn, rng, draws[:number])
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
