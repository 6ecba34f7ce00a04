"""From vectors to records with their clusters: levels as people write them, a balanced choice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.errors import MegastyleError
from megastyle_cli.record import Record, note
from megastyle_cli.steps.cluster import (
    auto_levels,
    balanced_sample,
    entropy_bits,
    fit_levels,
    hierarchical_kmeans,
)

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """The cluster of every row at every level, finest first, and the ascending `rows` passed on."""

    assignments: list[Array]
    rows: list[int]
    remarks: list[str]

    @property
    def sizes(self) -> list[int]:
        """How many clusters each level has."""
        return [int(level.max(initial=-1)) + 1 for level in self.assignments]


def group(vectors: Array, *, levels: str, sample: int | None, seed: int) -> Grouping:
    """Clusters `vectors` (n, d), unit rows, and chooses `sample` rows evenly (None: all).

    `levels` is `auto` or numbers of clusters, finest first, separated by commas.
    """
    wanted = parse_levels(levels, len(vectors))
    fitted = fit_levels(wanted, len(vectors)) if len(vectors) else wanted
    assignments = hierarchical_kmeans(vectors, fitted, seed)
    rng = np.random.default_rng(seed)
    target = len(vectors) if sample is None else sample
    rows = balanced_sample(assignments, target, rng)
    grouping = Grouping(assignments=assignments, rows=rows.tolist(), remarks=[])
    if fitted != wanted:
        grouping.remarks.append(
            f"{len(vectors):,} records: levels {_told(wanted)} shrunk to {_told(fitted)}"
        )
    grouping.remarks.append(f"clusters: {_told(grouping.sizes)} (finest first)")
    if len(rows) < len(vectors):
        grouping.remarks.append(_coverage(assignments[-1], rows, rng))
    return grouping


def parse_levels(text: str, n: int) -> list[int]:
    """The levels that `text` names for `n` records. Raises MegastyleError if it is not numbers."""
    if text == "auto":
        return auto_levels(n)
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise MegastyleError(
            f"--levels is {text!r}, not numbers", hint="for example 50,10, or auto"
        ) from None


def labelled(record: Record, grouping: Grouping, row: int, **facts: object) -> Record:
    """`record` with `cluster`, `cluster_2`, ... of its row."""
    keys = ["cluster", *(f"cluster_{level}" for level in range(2, len(grouping.assignments) + 1))]
    told = {key: int(level[row]) for key, level in zip(keys, grouping.assignments, strict=True)}
    return note({**record, **told}, "cluster", **facts)


def _coverage(coarsest: Array, rows: Array, rng: np.random.Generator) -> str:
    """How evenly the choice covers the coarsest clusters, beside a random one of the same size."""
    random_rows = rng.choice(len(coarsest), len(rows), replace=False)
    ours, chance = (entropy_bits(np.bincount(coarsest[r])) for r in (rows, random_rows))
    return (
        f"balanced sample of {len(rows):,} covers {len(np.unique(coarsest[rows]))} of"
        f" {int(coarsest.max()) + 1} coarse clusters, entropy {ours:.2f} bits (random {chance:.2f})"
    )


def _told(levels: Sequence[int]) -> str:
    return ",".join(map(str, levels))
