"""Reports what `dedup` found: metadata of kept and dropped records, counts by stage, groups."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.dedup.config import DedupConfig
from megastyle_cli.dedup.deduplicate import STAGES, Decisions, Duplicate, StageName
from megastyle_cli.io.temporary_files import Spool

Array = npt.NDArray[Any]

_MAX_GROUPS, _MAX_MEMBERS = 20, 5  # largest groups shown in a report, and members shown of each


@dataclass(frozen=True, kw_only=True)
class StageCount:
    """How many records a stage saw and removed, and the least similar pair among its decisions."""

    stage: StageName
    seen: int
    removed: int
    seconds: float
    example: Duplicate | None

    def stats(self) -> dict[str, Any]:
        """The counts and the wall-clock time, for `--stats`."""
        seconds = round(self.seconds, 3)
        return {"in": self.seen, "out": self.seen - self.removed, "seconds": seconds}


def count_stages(decisions: Decisions, config: DedupConfig) -> list[StageCount]:
    """The counts of each stage that ran, in order; each stage sees what the one before it left."""
    seen = len(decisions)
    counts = []
    for number, stage in enumerate(STAGES, start=1):
        if getattr(config, stage) is None:
            continue
        dropped = np.flatnonzero(decisions.stage == number)
        # every copy counts as exact, whatever stage dropped the text that it repeats
        is_copy = decisions.is_copy
        removed = int(is_copy.sum() if stage == "exact" else (~is_copy[dropped]).sum())
        example = None
        if len(dropped):
            example = decisions.duplicate(int(dropped[np.argmin(decisions.score[dropped])]))
        counts.append(
            StageCount(
                stage=stage,
                seen=seen,
                removed=removed,
                seconds=decisions.seconds.get(stage, 0.0),
                example=example,
            )
        )
        seen -= removed
    return counts


def summary(stages: Sequence[StageCount]) -> str:
    """What the stages removed, as one line."""
    removed = " \u00b7 ".join(f"{stage.stage} {stage.removed:,}" for stage in stages)
    return f"removed: {removed or 'nothing: all stages are switched off'}"


def kept_metadata(decisions: Decisions, **facts: object) -> tuple[list[dict[str, object]], Array]:
    """The metadata of kept records: `dropped`, the number of records dropped in favour of each.

    Returns each distinct metadata once, and which of them each kept record has, (n,), in order.
    """
    counts = _group_sizes(decisions)[decisions.kept_rows()]
    distinct, which = np.unique(counts, return_inverse=True)
    return [{**facts, "dropped": count} for count in distinct.tolist()], which


def rejected_metadata(
    decisions: Decisions, spool: Spool, **facts: object
) -> Iterator[dict[str, object]]:
    """The metadata of each dropped record, in order: what it duplicates, how, and how closely."""
    kept = spool.read(decisions.duplicate_of[decisions.dropped_rows()].tolist())
    for found, record in zip(decisions, kept, strict=True):
        score = round(found.score, 4)
        yield {**facts, "duplicate_of": record["id"], "how": found.stage, "score": score}


def build_report(
    decisions: Decisions, stages: Iterable[StageCount], spool: Spool, key: str
) -> dict[str, Any]:
    """The --report: counts and the least similar pair of each stage, and the largest groups.

    A group is a kept record and the records dropped in its favour, the least similar shown first.
    Texts are those under `key`.
    """

    def describe(row: int) -> dict[str, Any]:
        (record,) = spool.read([row])
        return {"id": record["id"], key: record[key]}

    def describe_dropped(found: Duplicate) -> dict[str, Any]:
        return {**describe(found.row), "how": found.stage, "score": round(found.score, 4)}

    measures = []
    for stage in stages:
        measure: dict[str, Any] = {"how": stage.stage, "in": stage.seen, "removed": stage.removed}
        if stage.stage == "semantic":
            measure |= decisions.search.as_dict()
        if stage.example is not None:
            kept = describe(stage.example.duplicate_of)
            measure["example"] = {**describe_dropped(stage.example), "for": kept}
        measures.append(measure)
    dropped, sizes = decisions.dropped_rows(), _group_sizes(decisions)
    groups = []
    for keeper in np.argsort(-sizes, kind="stable")[:_MAX_GROUPS].tolist():
        if sizes[keeper]:
            rows = dropped[decisions.duplicate_of[dropped] == keeper]
            rows = rows[np.argsort(decisions.score[rows], kind="stable")][:_MAX_MEMBERS]
            members = [describe_dropped(decisions.duplicate(row)) for row in rows.tolist()]
            group = {"kept": describe(keeper), "removed": int(sizes[keeper]), "examples": members}
            groups.append(group)
    return {
        "in": len(decisions),
        "out": len(decisions) - len(dropped),
        "measures": measures,
        "largest_groups": groups,
    }


def _group_sizes(decisions: Decisions) -> Array:
    """The number of records dropped in favour of each record, (n,)."""
    dropped = decisions.duplicate_of[decisions.dropped_rows()]
    return np.bincount(dropped, minlength=len(decisions))
