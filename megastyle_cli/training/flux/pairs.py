"""Records to pairs of one style, and which of them make up the batch of a step.

A pair is a reference and a target of the same style with the target's content as its words. As the
paper has it, an epoch draws one pair of every style, so that all styles weigh the same.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record, canonical_json, record_seed
from megastyle_cli.training.encoder.data import styles_aside
from megastyle_cli.training.encoder.sampler import Array

# u units, an epoch draws one pair of each; n rows

Draws = np.ndarray[Any, np.dtype[np.float64]]
TARGET, REFERENCE, LEVEL, FLIP, CROP, AREA, LEFT, TOP = range(8)  # what the draws of a pair decide


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """What pairs are drawn from: pictures by style, or targets that bring their own reference.

    `units[i]` are the rows of a style's pictures, two at least, or the one row of a pair that was
    told; `styles[i]` is its style.
    """

    ids: list[str]
    targets: list[str]
    contents: list[str]
    references: list[str | None]  # None: another picture of the unit
    units: list[Array]
    styles: list[str]

    def __len__(self) -> int:
        return len(self.units)

    @property
    def prompts(self) -> list[str]:
        """The words of every target that can be drawn."""
        return [self.contents[row] for unit in self.units for row in unit.tolist()]

    @property
    def key(self) -> str:
        """8 hex digits over the rows of all units, their words and styles, in order."""
        rows = np.concatenate([*self.units, np.zeros(0, np.int64)]).astype(np.int64).tolist()
        told = [[self.ids[row], self.contents[row], self.references[row]] for row in rows]
        sizes = [len(unit) for unit in self.units]
        return hashlib.sha256(canonical_json([told, sizes, self.styles]).encode()).hexdigest()[:8]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the records were good for: training, validation, or neither, and why."""

    training: Pairs
    held_out: Pairs
    failures: list[Failure]
    num_single: int  # styles left out because they have one picture
    num_read: int


def take(_: str) -> None:
    """Refuses no content."""


def pairs_of(
    found: Iterable[Record | Failure],
    *,
    label: str,
    holdout: float,
    split_key: str | None,
    seed: int,
    refuse: Callable[[str], None] = take,
) -> Found:
    """Pairs to train on and pairs of held-out styles; a style is never in both.

    A record is a picture (`file_name`, `content` and, under `label`, its style) or a pair
    (`style_file_name`, `target_file_name`, `content`); `refuse` raises BadRecord for a content that
    the model cannot be told. Held-out styles are chosen as `sort_records` chooses them.
    """
    kept: list[Record] = []
    failures: list[Failure] = []
    num_read = 0
    for record in found:
        num_read += 1
        one = record if isinstance(record, Failure) else checked(record, label, refuse)
        (failures if isinstance(one, Failure) else kept).append(one)  # type: ignore[arg-type]
    styles = [_style(record, label) for record in kept]
    counts = Counter(s for r, s in zip(kept, styles, strict=True) if not _is_told(r))
    single = {style for style, count in counts.items() if count == 1}
    usable = [
        (record, style)
        for record, style in zip(kept, styles, strict=True)
        if _is_told(record) or style not in single
    ]
    aside = styles_aside(usable, holdout=holdout, split_key=split_key, seed=seed)
    return Found(
        training=_gathered([(r, s) for r, s in usable if s not in aside]),
        held_out=_gathered([(r, s) for r, s in usable if s in aside]),
        failures=failures,
        num_single=len(single),
        num_read=num_read,
    )


def checked(record: Record, label: str, refuse: Callable[[str], None]) -> Record | Failure:
    """The record, or why there is no pair in it."""
    name = record["id"]
    if _is_told(record):
        if not isinstance(record.get("style_file_name"), str):
            why = f"record {name} has a target_file_name and no style_file_name"
            return Failure(record, "missing_key", why)
    elif not isinstance(record.get("file_name"), str):
        why = f"record {name} has no picture: neither file_name nor target_file_name"
        return Failure(record, "missing_key", why)
    elif not isinstance(record.get(label), str | int) or record[label] == "":
        return Failure(record, "missing_key", f"record {name} has no {label}")
    if not isinstance(record.get("content"), str) or not record["content"].strip():
        return Failure(record, "missing_key", f"record {name} has no content to paint from")
    return _unsaid(record, refuse) or record


def _unsaid(record: Record, refuse: Callable[[str], None]) -> Failure | None:
    """Why the content of a record cannot be told to the model, if it cannot."""
    name, content = record["id"], record["content"]
    try:
        content.encode()
        refuse(content)
    except UnicodeEncodeError:
        why = f"record {name} has half a character (a lone surrogate) in its content"
        return Failure(record, "bad_json", why)
    except BadRecord as bad:
        return Failure(record, bad.kind, f"record {name}: {bad.message}")
    return None


def _is_told(record: Record) -> bool:
    return isinstance(record.get("target_file_name"), str)


def _style(record: Record, label: str) -> str:
    told = record.get(label)
    return str(record["style_file_name"] if told in (None, "") and _is_told(record) else told)


def _gathered(labelled: Sequence[tuple[Record, str]]) -> Pairs:
    """The records of one set: those of a style as one unit, each told pair as one."""
    by_style: dict[str, list[int]] = {}
    alone: list[tuple[str, list[int]]] = []
    for row, (record, style) in enumerate(labelled):
        if _is_told(record):
            alone.append((style, [row]))
        else:
            by_style.setdefault(style, []).append(row)
    units = [*sorted(by_style.items()), *alone]
    return Pairs(
        ids=[r["id"] for r, _ in labelled],
        targets=[r["target_file_name"] if _is_told(r) else r["file_name"] for r, _ in labelled],
        contents=[r["content"] for r, _ in labelled],
        references=[r["style_file_name"] if _is_told(r) else None for r, _ in labelled],
        units=[np.array(rows, np.int64) for _, rows in units],
        styles=[style for style, _ in units],
    )


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One pair of a unit: the rows of target and reference, and what else chance decides of it.

    `place` counts all pairs since the first step; the same place is the same pair, noise included.
    """

    place: int
    unit: int
    target: int
    reference: int | None  # None: the one the target brings
    draws: Draws  # (8,) in [0, 1)


class PairSampler:
    """Global batches of `batch` pairs: a pure function of seed and step, the same in every world.

    Pairs are numbered from the first step on; every u of them show each unit once. A batch may
    reach over the end of an epoch, so that nothing is dropped.
    """

    def __init__(self, pairs: Pairs, *, batch: int, seed: int) -> None:
        if not len(pairs):
            raise MegastyleError(
                "there is no style with two pictures or more to draw pairs from",
                hint="give more pictures, or --label KEY if style_id is not the key of the style",
            )
        self.pairs, self.batch, self.seed = pairs, batch, seed
        self.drawn_in = lru_cache(2)(self._drawn_in)

    def places(self, step: int) -> range:
        """The numbers of the pairs of a step's global batch."""
        return range(step * self.batch, (step + 1) * self.batch)

    def drawn(self, place: int) -> Drawn:
        """The pair of that number."""
        epoch, turn = divmod(place, len(self.pairs))
        order, draws = self.drawn_in(epoch)
        unit, chance = int(order[turn]), draws[turn]
        rows = self.pairs.units[unit]
        target = int(chance[TARGET] * len(rows))
        reference: int | None = None
        if self.pairs.references[rows[target]] is None:
            other = int(chance[REFERENCE] * (len(rows) - 1))
            reference = int(rows[other + (other >= target)])
        return Drawn(
            place=place, unit=unit, target=int(rows[target]), reference=reference, draws=chance
        )

    def _drawn_in(self, epoch: int) -> tuple[Array, Draws]:
        """The order of the units (u,) in an epoch, and the numbers (u, 8) drawn for each."""
        rng = np.random.default_rng(record_seed(self.seed, "pairs", epoch))
        return rng.permutation(len(self.pairs)), rng.random((len(self.pairs), 8))
