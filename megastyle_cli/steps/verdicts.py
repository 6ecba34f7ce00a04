"""What dedup found, told by the records: the kept ones count, the rejected name their keeper."""

from collections.abc import Iterable, Iterator

import numpy as np

from megastyle_cli.record import Record, note
from megastyle_cli.steps.dedup import Verdicts


def kept_records(
    records: Iterable[Record], verdicts: Verdicts, **facts: object
) -> Iterator[Record]:
    """The records that stay (`records` holds no others), in order.

    Each tells in `dropped` how many went in its favour.
    """
    gone = np.flatnonzero(verdicts.how)
    dropped = np.bincount(verdicts.of[gone], minlength=len(verdicts))
    stays = np.flatnonzero(verdicts.how == 0)
    for row, record in zip(stays.tolist(), records, strict=True):
        yield note(record, "dedup", **facts, dropped=int(dropped[row]))


def rejected_records(
    records: Iterable[Record], keeper_ids: Iterable[str], verdicts: Verdicts, **facts: object
) -> Iterator[Record]:
    """The records that went (`records` holds no others), in order.

    Each tells for whom (`duplicate_of`; `keeper_ids` holds one each), how, and how close.
    """
    for found, record, keeper in zip(verdicts, records, keeper_ids, strict=True):
        yield note(
            record,
            "dedup",
            **facts,
            duplicate_of=keeper,
            how=found.how,
            score=round(found.score, 4),
        )
