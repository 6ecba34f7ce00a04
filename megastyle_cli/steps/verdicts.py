"""What dedup found, told by the records: the kept ones count, the rejected name their keeper."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from megastyle_cli.record import Record, note
from megastyle_cli.steps.dedup import Duplicate


def kept_records(
    records: Iterable[Record], duplicates: Sequence[Duplicate], **facts: object
) -> Iterator[Record]:
    """The records that stay, in order, each with `dropped`: how many went in its favour."""
    gone = {found.row for found in duplicates}
    dropped = Counter(found.of for found in duplicates)
    for row, record in enumerate(records):
        if row not in gone:
            yield note(record, "dedup", **facts, dropped=dropped[row])


def rejected_records(
    records: Iterable[Record],
    ids: Sequence[str],
    duplicates: Sequence[Duplicate],
    **facts: object,
) -> Iterator[Record]:
    """The records that went, in order: for whom (`duplicate_of`), how, and how close (`score`)."""
    verdicts = {found.row: found for found in duplicates}
    for row, record in enumerate(records):
        found = verdicts.get(row)
        if found is not None:
            yield note(
                record,
                "dedup",
                **facts,
                duplicate_of=ids[found.of],
                how=found.how,
                score=round(found.score, 4),
            )
