"""Clusters records by their vectors, draws a balanced sample, and adds cluster numbers."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
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
from megastyle_cli.cluster.points import RowSubset, Vectors, all_squared_lengths
from megastyle_cli.cluster.projection import project
from megastyle_cli.compute.engine import Engine, text_batches
from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record, annotate
from megastyle_cli.io.embedding_cache import EmbedTexts
from megastyle_cli.io.temporary_files import Spool
from megastyle_cli.models.protocols import Assigner

Array = npt.NDArray[Any]

# The levels of the two papers, by name.
PRESETS = {"paper": [50_000, 10_000, 5_000, 1_000], "plusplus": [100_000, 5_000, 500]}


@dataclass(frozen=True, kw_only=True)
class SampleCoverage:
    """How many groups a sample covers, and the entropy in bits of its counts by group.

    Beside it, the same for a random sample of the same size.
    """

    groups: int
    covered: int
    entropy: float
    random_covered: int
    random_entropy: float


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """The clusters of all n rows at every level, finest first, and the sample drawn from them.

    `rows` are the rows of the sample, ascending; `not_finite` those without a cluster, because
    their vector is not finite. `coverage` is the sample's coverage of the coarsest clusters and, if
    records have them, of overall styles; empty if all rows are in the sample.
    """

    hierarchy: Hierarchy
    rows: Sequence[int]
    not_finite: list[int]
    remarks: list[str]
    coverage: dict[str, SampleCoverage]
    xy: Array | None = None  # (n, 2) coordinates on a map, if asked for

    def stats(self) -> dict[str, Any]:
        """The number of clusters and the objective of each level, and the sample's coverage."""
        levels = self.hierarchy.assignments
        stats: dict[str, Any] = {
            "clusters": [int(labels.max(initial=-1)) + 1 for labels in levels],
            "objectives": self.hierarchy.objectives,
        }
        if self.coverage:
            stats["coverage"] = {noun: vars(found) for noun, found in self.coverage.items()}
        return stats

    def sample_records(
        self, spool: Spool, *, with_row: bool = False, **facts: object
    ) -> Iterator[Record]:
        """The sampled records, with `cluster`, `cluster_2`, ... and, if asked for, `row`, `x`, `y`.

        `facts` are noted in the provenance.
        """
        levels = self.hierarchy.assignments
        keys = ["cluster", *(f"cluster_{level}" for level in range(2, len(levels) + 1))]
        for row, record in zip(self.rows, spool.read(self.rows), strict=True):
            added: Record = dict(zip(keys, (int(labels[row]) for labels in levels), strict=True))
            if with_row:
                added["row"] = row
            if self.xy is not None:
                x, y = self.xy[row].tolist()
                added |= {"x": round(x, 5), "y": round(y, 5)}
            yield annotate({**record, **added}, "cluster", **facts)

    def failures(self, spool: Spool) -> Iterator[Failure]:
        """The failures of the records whose vector is not finite."""
        for record in spool.read(self.not_finite):
            message = f"record {record['id']}: its vector is not finite"
            yield Failure(record, "model_error", message)


def cluster_vectors(
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
) -> Clustering:
    """Clusters `vectors` (n, d) and draws a balanced sample of `sample` rows (None: all rows).

    `levels` is `auto`, the name of a preset, or comma-separated numbers of clusters, finest first.
    `identities` (n,) are the numbers of the rows' overall styles, -1 for none, whose coverage is
    then reported too.
    """
    is_finite = np.isfinite(all_squared_lengths(vectors, engine))
    finite, n = np.flatnonzero(is_finite), int(is_finite.sum())
    wanted = parse_levels(levels, n)
    fitted = fit_levels(wanted, n) if n else wanted
    points = vectors if n == len(is_finite) else RowSubset(vectors, finite)
    hierarchy = hierarchical_kmeans(
        points, fitted, seed=seed, engine=engine, resamplings=resamplings, assigner=assigner
    )
    rng = np.random.default_rng(seed)
    distances = hierarchy.distances if members == "nearest" else None
    target = n if sample is None else sample
    rows = balanced_sample(hierarchy.assignments, target, rng, distances)
    remarks = []
    if fitted != wanted:
        remarks.append(f"{n:,} records: levels {_join(wanted)} are reduced to {_join(fitted)}")
    remarks.append(_describe_clusters(hierarchy))
    coverage = {}
    if len(rows) < n:
        coverage["coarse clusters"] = sample_coverage(hierarchy.assignments[-1], rows, rng)
        if identities is not None and (identities[finite] >= 0).any():
            coverage["overall styles"] = sample_coverage(identities[finite], rows, rng)
    remarks += [_describe_coverage(found, len(rows), noun) for noun, found in coverage.items()]
    return Clustering(
        hierarchy=_expand(hierarchy, is_finite),
        rows=array("q", finite[rows].tobytes()),  # 8 bytes per row; a list takes 36
        not_finite=np.flatnonzero(~is_finite).tolist(),
        remarks=remarks,
        coverage=coverage,
        xy=_scatter(project(points, hierarchy, engine), is_finite, 0.0) if xy else None,
    )


def sample_coverage(groups: Array, rows: Array, rng: np.random.Generator) -> SampleCoverage:
    """How evenly `rows` cover `groups` (n,), -1 for none, and as many random rows by `rng`."""
    random_rows = rng.choice(len(groups), len(rows), replace=False)
    ours, random = (_count_groups(groups[sample]) for sample in (rows, random_rows))
    return SampleCoverage(
        groups=len(np.unique(groups[groups >= 0])),
        covered=int((ours > 0).sum()),
        entropy=entropy_bits(ours),
        random_covered=int((random > 0).sum()),
        random_entropy=entropy_bits(random),
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


def check_levels(text: str) -> None:
    """Raises MegastyleError if `cluster_vectors` would refuse these levels."""
    fit_levels(parse_levels(text, 1), 1)


class StyleIdentities:
    """Numbers the overall styles of records, in order of first appearance."""

    def __init__(self, key: str = "style_identity") -> None:
        self.key = key
        self._numbers: dict[str, int] = {}
        self._rows = array("q")

    def collect(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records unchanged, while their overall styles are collected."""
        for record in records:
            value = record.get(self.key)
            name = " ".join(value.lower().split()) if isinstance(value, str) else ""
            number = self._numbers.setdefault(name, len(self._numbers)) if name else -1
            self._rows.append(number)
            yield record

    def numbers(self) -> Array:
        """The number of each record's overall style, (n,) int64; -1 for records without one."""
        return np.frombuffer(self._rows, np.int64)


def embed_texts(texts: Iterable[str], embed: EmbedTexts, size: int = 4096) -> Iterator[Array]:
    """The vectors (m, d) of `texts`, at most `size` at a time."""
    return map(embed, text_batches(texts, size))


def select_rows(vectors: Vectors, records: Iterable[Record]) -> Vectors:
    """The vectors at the `row` of each record, in the order of the records."""
    return RowSubset(vectors, np.fromiter((record["row"] for record in records), np.int64))


def check_row(record: Record, count: int) -> None:
    """Raises BadRecord("missing_key", ...) unless the record's `row` is one of `count` rows."""
    row = record.get("row")
    if not isinstance(row, int) or isinstance(row, bool) or not 0 <= row < count:
        raise BadRecord(
            "missing_key", f"record {record['id']}: row is {row!r}, but there are {count:,} vectors"
        )


def _expand(hierarchy: Hierarchy, is_finite: Array) -> Hierarchy:
    """The hierarchy with rows for the vectors that are not finite, in cluster -1."""
    if is_finite.all():
        return hierarchy
    return Hierarchy(
        assignments=[_scatter(labels, is_finite, -1) for labels in hierarchy.assignments],
        distances=_scatter(hierarchy.distances, is_finite, 0),
        centroids=hierarchy.centroids,
        objectives=hierarchy.objectives,
    )


def _scatter(values: Array, is_set: Array, fill: float) -> Array:
    """An array with `values` at the rows that are set, and `fill` elsewhere."""
    scattered = np.full((len(is_set), *values.shape[1:]), fill, values.dtype)
    scattered[is_set] = values
    return scattered


def _describe_clusters(hierarchy: Hierarchy) -> str:
    if not hierarchy.centroids:
        return "clusters: none"
    sizes = _join([len(centroids) for centroids in hierarchy.centroids])
    errors = ", ".join(f"{objective:.4f}" for objective in hierarchy.objectives)
    return f"clusters: {sizes} (finest first), mean squared distance to the centroid: {errors}"


def _describe_coverage(found: SampleCoverage, size: int, noun: str) -> str:
    return (
        f"balanced sample of {size:,} covers {found.covered:,} of {found.groups:,} {noun},"
        f" entropy {found.entropy:.2f} bits (random {found.random_covered:,},"
        f" {found.random_entropy:.2f} bits)"
    )


def _count_groups(groups: Array) -> Array:
    return np.bincount(groups[groups >= 0])


def _join(levels: Sequence[int]) -> str:
    return ",".join(map(str, levels))
