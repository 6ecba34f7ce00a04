"""From vectors to records with their clusters: levels as people write them, a balanced choice."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.cluster.hierarchy import (
    Hierarchy,
    Members,
    auto_levels,
    balanced_sample,
    entropy_bits,
    fit_levels,
    hierarchical_kmeans,
)
from megastyle_cli.cluster.points import Rows, Vectors, all_squared_lengths
from megastyle_cli.cluster.projection import plane
from megastyle_cli.compute.engine import Engine
from megastyle_cli.core.batching import text_batches
from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record, annotate
from megastyle_cli.models.protocols import Assigner

Array = npt.NDArray[Any]

# The two papers' levels, by name.
PRESETS = {"paper": [50_000, 10_000, 5_000, 1_000], "plusplus": [100_000, 5_000, 500]}


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How many groups a balanced sample has records of, and the entropy of their counts in bits,
    beside a random sample of the same size."""

    groups: int
    covered: int
    entropy: float
    random_covered: int
    random_entropy: float


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """The clusters of every row, finest first, and the ascending `rows` passed on.

    `unfit` are the rows, of no cluster, whose vector is not finite; `coverage` is what a choice
    covers of coarse clusters and, where records tell any, of overall styles.
    """

    hierarchy: Hierarchy
    rows: Sequence[int]
    unfit: list[int]
    remarks: list[str]
    coverage: dict[str, Coverage]
    xy: Array | None = None  # (n, 2), where a map was asked for

    @property
    def assignments(self) -> list[Array]:
        """The cluster (n,) of every row at every level; -1 for what has none."""
        return self.hierarchy.assignments

    @property
    def sizes(self) -> list[int]:
        """How many clusters each level has."""
        return [int(level.max(initial=-1)) + 1 for level in self.assignments]


def group(
    vectors: Vectors,
    *,
    levels: str,
    sample: int | None,
    seed: int,
    engine: Engine,
    members: Members = "random",
    resamplings: int = 0,
    identities: Array | None = None,
    xy: bool = False,
    assigner: Assigner | None = None,
) -> Grouping:
    """Clusters `vectors` (n, d) and chooses `sample` rows evenly (None: all).

    `levels` is `auto`, a preset's name, or numbers of clusters, finest first, separated by commas.
    `identities` (n,) number the rows' overall styles, -1 for none: what the choice covers of them
    is told, too.
    """
    is_fit = np.isfinite(all_squared_lengths(vectors, engine))
    fit, n = np.flatnonzero(is_fit), int(is_fit.sum())
    wanted = parse_levels(levels, n)
    fitted = fit_levels(wanted, n) if n else wanted
    points = vectors if n == len(is_fit) else Rows(vectors, fit)
    hierarchy = hierarchical_kmeans(
        points,
        fitted,
        seed=seed,
        engine=engine,
        resamplings=resamplings,
        assigner=assigner,
    )
    rng = np.random.default_rng(seed)
    distances = hierarchy.distances if members == "nearest" else None
    target = n if sample is None else sample
    rows = balanced_sample(hierarchy.assignments, target, rng, distances)
    remarks = []
    if fitted != wanted:
        remarks.append(f"{n:,} records: levels {_told(wanted)} shrunk to {_told(fitted)}")
    remarks.append(_clusters_told(hierarchy))
    coverage = {}
    if len(rows) < n:
        coverage["coarse clusters"] = coverage_of(hierarchy.assignments[-1], rows, rng)
        if identities is not None and (identities[fit] >= 0).any():
            coverage["overall styles"] = coverage_of(identities[fit], rows, rng)
    remarks += [_covered_told(found, len(rows), noun) for noun, found in coverage.items()]
    return Grouping(
        hierarchy=_spread(hierarchy, fit, len(is_fit)),
        rows=array("q", fit[rows].tobytes()),  # 8 bytes a row, where a list takes 36
        unfit=np.flatnonzero(~is_fit).tolist(),
        remarks=remarks,
        coverage=coverage,
        xy=_placed(plane(points, hierarchy, engine), fit, len(is_fit)) if xy else None,
    )


def coverage_of(groups: Array, rows: Array, rng: np.random.Generator) -> Coverage:
    """How evenly `rows` cover `groups` (n,), -1 for none, beside as many rows that `rng` draws."""
    random_rows = rng.choice(len(groups), len(rows), replace=False)
    ours, chance = (_counts(groups[chosen]) for chosen in (rows, random_rows))
    return Coverage(
        groups=len(np.unique(groups[groups >= 0])),
        covered=int((ours > 0).sum()),
        entropy=entropy_bits(ours),
        random_covered=int((chance > 0).sum()),
        random_entropy=entropy_bits(chance),
    )


def parse_levels(text: str, n: int) -> list[int]:
    """The levels that `text` names for `n` records. Raises MegastyleError if it is not numbers."""
    if text == "auto":
        return auto_levels(n)
    if text in PRESETS:
        return PRESETS[text]
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise MegastyleError(
            f"--levels is {text!r}, not numbers",
            hint=f"for example 50,10, or one of: auto, {', '.join(PRESETS)}",
        ) from None


def refuse_levels(text: str) -> None:
    """Raises MegastyleError now if `group` would later."""
    fit_levels(parse_levels(text, 1), 1)


def labelled(
    record: Record, grouping: Grouping, row: int, keys_too: Record, **facts: object
) -> Record:
    """`record` with `cluster`, `cluster_2`, ... of its row, and with `keys_too`."""
    keys = ["cluster", *(f"cluster_{level}" for level in range(2, len(grouping.assignments) + 1))]
    told: Record = {
        key: int(level[row]) for key, level in zip(keys, grouping.assignments, strict=True)
    }
    if grouping.xy is not None:
        x, y = grouping.xy[row].tolist()
        keys_too = {**keys_too, "x": round(x, 5), "y": round(y, 5)}
    return annotate({**record, **told, **keys_too}, "cluster", **facts)


def unfit(record: Record) -> Failure:
    """The failure of a record whose vector is not finite."""
    return Failure(record, "model_error", f"record {record['id']}: its vector is not finite")


class Identities:
    """The overall styles of records, numbered as they first come."""

    def __init__(self, key: str = "style_identity") -> None:
        self.key = key
        self._numbers: dict[str, int] = {}
        self._rows = array("q")

    def seen(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records as they are, while theirs are taken down."""
        for record in records:
            name = record.get(self.key)
            told = " ".join(name.lower().split()) if isinstance(name, str) else ""
            number = self._numbers.setdefault(told, len(self._numbers)) if told else -1
            self._rows.append(number)
            yield record

    def numbers(self) -> Array:
        """(n,) int64, -1 where a record tells none."""
        return np.frombuffer(self._rows, np.int64)


def embedded(
    texts: Iterable[str], embed: Callable[[Sequence[str]], Array], size: int = 4096
) -> Iterator[Array]:
    """The vectors (m, d) of `texts`, at most `size` at a time."""
    return map(embed, text_batches(texts, size))


def rows_of(vectors: Vectors, records: Iterable[Record]) -> Vectors:
    """The vectors that the `row` of each record points at, in the order of the records."""
    return Rows(vectors, np.fromiter((record["row"] for record in records), np.int64))


def check_row(record: Record, count: int) -> None:
    """Raises BadRecord("missing_key", ...) unless the record's `row` is one of `count`."""
    row = record.get("row")
    if not isinstance(row, int) or isinstance(row, bool) or not 0 <= row < count:
        raise BadRecord(
            "missing_key", f"record {record['id']}: row is {row!r}, the vectors have {count:,}"
        )


def _spread(hierarchy: Hierarchy, fit: Array, count: int) -> Hierarchy:
    """The hierarchy of `fit` rows as one of all `count` rows, -1 for the others."""
    if len(fit) == count:
        return hierarchy
    assignments = []
    for level in hierarchy.assignments:
        labels = np.full(count, -1)
        labels[fit] = level
        assignments.append(labels)
    distances = np.zeros(count, np.float32)
    distances[fit] = hierarchy.distances
    return Hierarchy(
        assignments=assignments,
        distances=distances,
        centroids=hierarchy.centroids,
        objectives=hierarchy.objectives,
    )


def _placed(places: Array, fit: Array, count: int) -> Array:
    placed = np.zeros((count, 2))
    placed[fit] = places
    return placed


def _clusters_told(hierarchy: Hierarchy) -> str:
    if not hierarchy.centroids:
        return "clusters: none"
    sizes = _told([len(centroids) for centroids in hierarchy.centroids])
    errors = ", ".join(f"{objective:.4f}" for objective in hierarchy.objectives)
    return f"clusters: {sizes} (finest first), mean squared distance to the centroid: {errors}"


def _covered_told(found: Coverage, size: int, noun: str) -> str:
    return (
        f"balanced sample of {size:,} covers {found.covered:,} of {found.groups:,} {noun},"
        f" entropy {found.entropy:.2f} bits (random {found.random_covered:,},"
        f" {found.random_entropy:.2f} bits)"
    )


def _counts(groups: Array) -> Array:
    return np.bincount(groups[groups >= 0])


def _told(levels: Sequence[int]) -> str:
    return ",".join(map(str, levels))
