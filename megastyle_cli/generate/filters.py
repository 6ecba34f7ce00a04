"""Pictures that are not worth keeping: blank, unsafe, off their style, or painted before.

Each gate looks at one picture, or at all of one style, and at nothing that depends on its batch:
what it says is the same in any order, but for doubles, of which the first in the output's order
stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from megastyle_cli.core.record import Record, is_context_only
from megastyle_cli.models.protocols import PictureRequest, SafetyClassifier, StyleEncoder

if TYPE_CHECKING:
    from PIL.Image import Image

BLANK_LEVELS = 4.0  # standard deviation, of 255 levels: paper with one word on it has 10
HASH_SIDE = 16  # 16 x 16 differences: 256 bits
NEAR_BITS = 8  # of 256: what another format, another size or one level of light changes
REFERENCES_KEPT = 4096


class Painted(NamedTuple):
    """A picture, what it was painted from, and for whom."""

    record: Record
    request: PictureRequest
    picture: Image


class Verdict(NamedTuple):
    """Why a picture is turned away, and what was measured."""

    reason: str
    score: float


Array = np.ndarray[Any, np.dtype[Any]]
Gate = Callable[[Sequence[Painted]], "Sequence[Verdict | None]"]


def judged(painted: Sequence[Painted], gates: Iterable[Gate]) -> list[Verdict | None]:
    """The first gate's verdict on each picture; a gate sees only what passed those before it."""
    verdicts: list[Verdict | None] = [None] * len(painted)
    for gate in gates:
        rows = [row for row, verdict in enumerate(verdicts) if verdict is None]
        if not rows:
            break
        for row, verdict in zip(rows, gate([painted[row] for row in rows]), strict=True):
            verdicts[row] = verdict
    return verdicts


def blank_gate(painted: Sequence[Painted]) -> list[Verdict | None]:
    """Turns away what is all but one colour: less than BLANK_LEVELS of contrast (ours)."""
    contrasts = [contrast(one.picture) for one in painted]
    return [Verdict("blank", round(c, 3)) if c < BLANK_LEVELS else None for c in contrasts]


def contrast(picture: Image) -> float:
    """The largest standard deviation of a colour channel, in [0, 127.5]."""
    return float(np.asarray(picture).std(axis=(0, 1)).max())


def unsafe_gate(classifier: SafetyClassifier, most: float) -> Gate:
    """Turns away pictures whose probability of being unsafe is above `most`."""

    def gate(painted: Sequence[Painted]) -> list[Verdict | None]:
        scores = classifier.unsafe([one.picture for one in painted])
        return [Verdict("nsfw", round(s, 4)) if s > most else None for s in scores]

    return gate


def style_of(record: Record) -> str:
    """What a record's style is known by: its id, else its words, its picture; else itself alone."""
    keys = ("style_id", "style", "style_file_name", "id")
    return next(str(told) for key in keys if (told := record.get(key)) not in (None, ""))


def consistency_gate(encoder: StyleEncoder, least: float, side_px: int | None) -> Gate:
    """Turns away pictures whose mean cosine with the others of their style is below `least`.

    The others are all of the style that are seen at once and passed the gates before: the caller
    shows each style whole. A picture without others stays. Compared at a longer side of `side_px`.
    The mean of cosines does not drift with the number of others.
    """

    def gate(painted: Sequence[Painted]) -> list[Verdict | None]:
        looks = encoder.embed([_shrunk(one.picture, side_px) for one in painted])  # (n, d)
        members: dict[str, list[int]] = {}
        for row, one in enumerate(painted):
            members.setdefault(style_of(one.record), []).append(row)
        verdicts: list[Verdict | None] = [None] * len(painted)
        for rows in members.values():
            for row, score in zip(rows, _mean_with_others(looks[rows]), strict=True):
                if len(rows) > 1 and score < least:
                    verdicts[row] = Verdict("style", round(score, 4))
        return verdicts

    return gate


def _mean_with_others(looks: Array) -> list[float]:
    """The mean cosine of each unit row (n, d) with the n - 1 others; 0 if it is alone."""
    among = looks.astype(np.float64) @ looks.astype(np.float64).T  # (n, n)
    np.fill_diagonal(among, 0.0)
    means: list[float] = (among.sum(axis=1) / max(1, len(looks) - 1)).tolist()
    return means


def style_gate(encoder: StyleEncoder, least: float, side_px: int | None) -> Gate:
    """Turns away pictures whose cosine with their style's reference picture is below `least`.

    Pictures are compared at a longer side of `side_px`, or as they are without it; the cosine is
    what eval calls style_score.
    """
    references: dict[str, Any] = {}

    def reference(asked: PictureRequest) -> Any:
        key = asked.reference_keys[0]
        if key not in references:
            if len(references) == REFERENCES_KEPT:
                references.pop(next(iter(references)))
            references[key] = encoder.embed([_shrunk(asked.references[0], side_px)])[0]
        return references[key]

    def gate(painted: Sequence[Painted]) -> list[Verdict | None]:
        rows = encoder.embed([_shrunk(one.picture, side_px) for one in painted])  # (n, d)
        scores = [
            float(row @ reference(one.request)) for row, one in zip(rows, painted, strict=True)
        ]
        return [Verdict("style", round(s, 4)) if s < least else None for s in scores]

    return gate


class Doubles:
    """Turns away a picture that looks like one before it, by the difference hash.

    `known` are the hashes (hex) of an output that is resumed, `remember` takes the id and hash of
    each picture that stays. The score is the share of equal bits.
    """

    def __init__(self, known: Iterable[str], remember: Callable[[str, str], None]) -> None:
        rows = [np.frombuffer(bytes.fromhex(told), np.uint8) for told in known]
        self._count, self._remember = len(rows), remember
        self._seen = np.zeros((max(64, 2 * len(rows)), HASH_SIDE**2 // 8), np.uint8)
        if rows:
            self._seen[: len(rows)] = np.stack(rows)

    def __call__(self, painted: Sequence[Painted]) -> list[Verdict | None]:
        """A verdict on each, in order; of two that are alike the first stays."""
        return [None if is_context_only(one.record) else self._judged(one) for one in painted]

    def _judged(self, one: Painted) -> Verdict | None:
        bits = difference_hash(one.picture)
        if self._count:
            apart = np.bitwise_count(self._seen[: self._count] ^ bits).sum(axis=1).min()
            if apart <= NEAR_BITS:
                return Verdict("duplicate", round(1 - float(apart) / HASH_SIDE**2, 4))
        if self._count == len(self._seen):
            self._seen = np.concatenate([self._seen, np.zeros_like(self._seen)])
        self._seen[self._count] = bits
        self._count += 1
        self._remember(one.record["id"], bits.tobytes().hex())
        return None


def _shrunk(picture: Image, side_px: int | None) -> Image:
    longer = max(picture.size)
    if side_px is None or longer <= side_px:
        return picture
    width, height = (max(1, round(side * side_px / longer)) for side in picture.size)
    return picture.resize((width, height), 3)  # 3: bicubic, as pictures are decoded


def difference_hash(picture: Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """256 bits (32 bytes): whether each of 16 x 16 places is darker than its right neighbour."""
    small = picture.convert("L").resize((HASH_SIDE + 1, HASH_SIDE), 4)  # 4: mean of the box
    gray = np.asarray(small, np.int16)
    return np.packbits(gray[:, 1:] > gray[:, :-1])
