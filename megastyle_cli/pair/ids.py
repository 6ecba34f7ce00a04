"""Ids that tell parents apart: a record read twice counts once, others of one id get names."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

from megastyle_cli.core.record import Record, canonical_json


@dataclass(frozen=True)
class OwnIds:
    """Which of some records are repetitions, and the ids of those that got one of their own.

    `kept` are the rows of the others, ascending; `renamed` has the new id by row.
    """

    kept: Sequence[int]
    renamed: dict[int, str] = field(default_factory=dict)


def distinct_ids(ids: Sequence[str], read: Callable[[list[int]], Iterable[Record]]) -> OwnIds:
    """The records of these ids that differ, each with an id of its own.

    `read` gives the records of some rows. A record read twice counts once, and so does a picture
    under two names, whose id is the hash of its bytes. Of different records with one id the k-th
    further one is named `<id>_k`.
    """
    taken = set(ids)
    if len(taken) == len(ids):
        return OwnIds(range(len(ids)))
    counts = Counter(ids)
    doubled = [row for row, given in enumerate(ids) if counts[given] > 1]
    used, seen = set[str](), set[tuple[str, str]]()
    repeated, renamed = set[int](), dict[int, str]()
    for row, record in zip(doubled, read(doubled), strict=True):
        given, content = ids[row], _identity(record)
        if (given, content) in seen:
            repeated.add(row)
            continue
        if given in used:
            further = (f"{given}_{k}" for k in count(1))
            renamed[row] = next(each for each in further if each not in taken)
            taken.add(renamed[row])
        used.add(given)
        seen.add((given, content))
    return OwnIds([row for row in range(len(ids)) if row not in repeated], renamed)


def _identity(record: Record) -> str:
    is_hash = re.fullmatch("[0-9a-f]{16}", record["id"]) is not None
    return canonical_json({k: v for k, v in record.items() if not (is_hash and k == "file_name")})
