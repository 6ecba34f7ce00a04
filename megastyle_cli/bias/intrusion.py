"""Which objects a style word brings into images, as a vision-language model counts them.

On half of the contents (discovery) the model lists what it sees; the objects that the style shows
most often beyond the controls, and that the content does not mention, are its candidates. On the
other half (test) it is asked for each candidate. So a choice among all objects is no finding by
itself. Source: ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from megastyle_cli.bias.association import MIN_CONTENTS, bounds, resampled
from megastyle_cli.captioning.short_answers import object_name
from megastyle_cli.compute.significance import Array, sign_test
from megastyle_cli.core.record import Record, text_hash

NUM_CANDIDATES = 5

# style -> content -> the objects listed; None without a valid answer
Listed = Mapping[str, Mapping[str, Sequence[str] | None]]
# content -> object -> whether it is seen; None without a valid answer
Seen = Mapping[str, Mapping[str, bool | None]]


@dataclass(frozen=True, kw_only=True)
class Intruder:
    """A candidate: an object that a style may bring, its share of contents and the controls'."""

    name: str
    share: float
    control_share: float


def candidates(
    style: str, listed: Listed, controls: Sequence[str], texts: Mapping[str, str]
) -> list[Intruder]:
    """The objects that a style shows most often beyond the controls, at most five.

    `texts` are the prompts of the contents: an object that a prompt mentions does not count there.
    """
    own = _shares(listed.get(style, {}), texts)
    others = [_shares(listed.get(control, {}), texts) for control in controls]
    found = [
        Intruder(
            name=name,
            share=share,
            control_share=float(np.mean([each.get(name, 0.0) for each in others])),
        )
        for name, share in own.items()
    ]
    rising = [each for each in found if each.share > each.control_share]
    return sorted(rising, key=lambda each: (each.control_share - each.share, each.name))[
        :NUM_CANDIDATES
    ]


def intrusion(own: Seen, controls: Mapping[str, Seen], seed: int = 0) -> Record:
    """How much more often a style shows one of its candidates than the controls do.

    `intrusion` is the share of contents with a candidate less that of the controls, in [-1, 1],
    with a 95 % interval over contents. `p` is that of the exact sign test of pairs: the style and,
    for each content, one control that a hash draws; all controls together would outnumber one
    style. Contents without a valid answer on the style or on any control are left out.
    """
    cells = _cells(own, controls)
    row: Record = {"contents": len(cells), "unanswered": len(own) - len(cells)}
    if not cells:
        return row
    rises = _rises(cells)
    row |= {
        "intrusion": float(rises.mean()),
        "share": float(np.mean([cell.seen for cell in cells])),
        "control_share": float(np.mean([cell.share_of_controls for cell in cells])),
        "p": sign_test(np.array([float(cell.seen) - cell.seen_in_pair for cell in cells])),
    }
    if len(rises) >= MIN_CONTENTS:
        row["intrusion_low"], row["intrusion_high"] = bounds(resampled(rises, seed))
    return row


def above_floor(
    own: Seen,
    controls: Mapping[str, Seen],
    floor: Seen,
    floor_controls: Mapping[str, Seen],
    seed: int = 0,
) -> Record:
    """`floor`, the intrusion among images that cannot show the objects, and what is above it.

    Empty if there are no such images of the style.
    """
    real, base = _rises(_cells(own, controls)), _rises(_cells(floor, floor_controls))
    if not len(real) or not len(base):
        return {}
    found: dict[str, Any] = {
        "floor": float(base.mean()),
        "above_floor": float(real.mean() - base.mean()),
    }
    if min(len(real), len(base)) >= MIN_CONTENTS:
        drawn = resampled(real, seed) - resampled(base, seed + 1)
        found["above_floor_low"], found["above_floor_high"] = bounds(drawn)
    return found


def is_mentioned(name: str, text: str) -> bool:
    """Whether a text mentions an object, in the singular or the plural."""
    words = " ".join(object_name(word) for word in text.split())
    return f" {name} " in f" {words} "


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """Whether a style shows a candidate for one content, the share of controls that do, and
    whether the one control does that it is paired with."""

    seen: bool
    share_of_controls: float
    seen_in_pair: bool


def _cells(own: Seen, controls: Mapping[str, Seen]) -> list[_Cell]:
    cells = []
    for content in sorted(own):
        seen = _has_any(own[content])
        others = {
            name: found
            for name, each in controls.items()
            if content in each and (found := _has_any(each[content])) is not None
        }
        if seen is None or not others:
            continue
        drawn = min(others, key=lambda name: (text_hash(f"{content} {name}"), name))  # noqa: B023
        share = float(np.mean(list(others.values())))
        cells.append(_Cell(seen=seen, share_of_controls=share, seen_in_pair=others[drawn]))
    return cells


def _rises(cells: Sequence[_Cell]) -> Array:
    return np.array([cell.seen - cell.share_of_controls for cell in cells])


def _has_any(answers: Mapping[str, bool | None]) -> bool | None:
    """Whether one of the objects is seen; None if none is, and an answer is missing."""
    if any(answers.values()):
        return True
    return None if None in answers.values() else False


def _shares(
    listed: Mapping[str, Sequence[str] | None], texts: Mapping[str, str]
) -> dict[str, float]:
    """The share of contents whose image shows each object, those with a valid list."""
    valid = {content: names for content, names in listed.items() if names is not None}
    counts: dict[str, int] = {}
    for content, names in valid.items():
        text = texts.get(content, content)
        for name in names:
            if not is_mentioned(name, text):
                counts[name] = counts.get(name, 0) + 1
    return {name: count / len(valid) for name, count in counts.items()}
