"""What dedup found, told by the records: the kept ones count, the rejected name their keeper."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.core.record import Record
from megastyle_cli.dedup.deduplicate import How, StageCount, Verdicts

Array = npt.NDArray[Any]

_GROUPS, _MEMBERS = 20, 5  # of the largest groups and of each of them, shown in a report


def kept_facts(verdicts: Verdicts, **facts: object) -> tuple[list[dict[str, object]], Array]:
    """What is noted of records that stay: `dropped`, how many went in favour of one.

    Each different note once, and (n,) the number of that of each record, in order.
    """
    gone = np.flatnonzero(verdicts.how)
    dropped = np.bincount(verdicts.of[gone], minlength=len(verdicts))
    counts, which = np.unique(dropped[verdicts.how == 0], return_inverse=True)
    return [{**facts, "dropped": count} for count in counts.tolist()], which


def rejected_facts(
    verdicts: Verdicts, keeper_ids: Iterable[str], **facts: object
) -> Iterator[dict[str, object]]:
    """What is noted of each record that went, in order: for whom, how, and how close.

    `keeper_ids` holds one for each.
    """
    for found, keeper in zip(verdicts, keeper_ids, strict=True):
        score = round(found.score, 4)
        yield {**facts, "duplicate_of": keeper, "how": found.how, "score": score}


def told_report(
    verdicts: Verdicts,
    stages: Sequence[StageCount],
    read: Callable[[Iterable[int]], Iterator[Record]],
    on: str,
    looked: Mapping[How, Mapping[str, Any]],
) -> dict[str, Any]:
    """What each measure did and `looked` tells of it, the least alike pair it joined, and the
    largest groups.

    A group is a record that stays and all that went for it; its members are shown least alike
    first. `read` gives the records at some rows.
    """

    def shown(row: int) -> dict[str, Any]:
        (record,) = read([row])
        return {"id": record["id"], on: record[on]}

    def shown_gone(row: int) -> dict[str, Any]:
        found = verdicts.duplicate(row)
        return {**shown(row), "how": found.how, "score": round(found.score, 4)}

    told = []
    for stage in stages:
        facts: dict[str, Any] = {"how": stage.how, "in": stage.seen, "removed": stage.removed}
        facts.update(looked.get(stage.how, {}))
        if stage.example is not None:
            facts["example"] = {**shown_gone(stage.example.row), "for": shown(stage.example.of)}
        told.append(facts)
    gone = np.flatnonzero(verdicts.how)
    sizes = np.bincount(verdicts.of[gone], minlength=len(verdicts))
    largest = [row for row in np.argsort(-sizes, kind="stable")[:_GROUPS].tolist() if sizes[row]]
    groups = []
    for keeper in largest:
        rows = gone[verdicts.of[gone] == keeper]
        rows = rows[np.argsort(verdicts.score[rows], kind="stable")][:_MEMBERS]
        members = [shown_gone(row) for row in rows.tolist()]
        groups.append({"kept": shown(keeper), "removed": int(sizes[keeper]), "examples": members})
    return {
        "in": len(verdicts),
        "out": len(verdicts) - len(gone),
        "measures": told,
        "largest_groups": groups,
    }
