"""Has a generative model judge descriptions: is each visible in the picture, and is it vague?

Source: the two measures of MegaStyle++ (arXiv 2609.01423); the instruction is ours.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial

from megastyle_cli.caption import prompts as instructions
from megastyle_cli.caption.retry import Asker, asked
from megastyle_cli.caption.validate import verdicts
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Failure, Record, annotate
from megastyle_cli.core.style import ATTRIBUTE_KEYS
from megastyle_cli.io.record_images import ReadPictures, open_record_pictures

VERDICT_TOKENS = 320


class Verdicts:
    """How many descriptions of each name were judged, how many called relevant, how many vague."""

    def __init__(self) -> None:
        self.judged: Counter[str] = Counter()
        self.relevant: Counter[str] = Counter()
        self.vague: Counter[str] = Counter()
        self._counting = threading.Lock()

    def add(self, found: dict[str, tuple[bool, bool]]) -> None:
        """Counts the verdicts on one record."""
        with self._counting:
            self.judged.update(found.keys())
            self.relevant.update(name for name, (relevant, _) in found.items() if relevant)
            self.vague.update(name for name, (_, vague) in found.items() if vague)

    def shares(self) -> dict[str, dict[str, float]]:
        """By name: how many were judged, which share in [0, 1] is relevant, which vague."""
        return {
            name: {
                "judged": count,
                "relevant": round(self.relevant[name] / count, 4),
                "vague": round(self.vague[name] / count, 4),
            }
            for name, count in sorted(self.judged.items())
        }

    def remarks(self) -> list[str]:
        """The shares as a line for people."""
        told = (
            f"{name} {share['relevant']:.1%} relevant {share['vague']:.1%} vague"
            for name, share in self.shares().items()
        )
        line = " \u00b7 ".join(told)
        return [f"judged: {line}"] if line else []


def judge(
    records: Iterable[Record], *, asker: Asker, read: ReadPictures, counts: Verdicts, run: str
) -> Iterator[Record | Failure]:
    """Adds the verdicts on each attribute (else on the style) and the content to the provenance.

    A record without style and content fails as missing_key. In order.
    """
    batch = list(records)
    pictures = open_record_pictures(batch, "file_name", read)
    asks = [
        asked(
            picture,
            instructions.JUDGE,
            instructions.JUDGE_REQUEST.format(described=_listed(described)),
            partial(verdicts, names=described),
            VERDICT_TOKENS,
        )
        for record, picture in zip(batch, pictures, strict=True)
        if not isinstance(picture, BadRecord) and (described := _described(record))
    ]
    replies = iter(asker.ask(asks))
    for record, picture in zip(batch, pictures, strict=True):
        if isinstance(picture, BadRecord):
            yield Failure(record, picture.kind, picture.message)
        elif not _described(record):
            told = f"record {record['id']} has no style and no content: caption it first"
            yield Failure(record, "missing_key", told)
        else:
            yield _judged(record, next(replies).told, counts, asker.model.name, run)


def _judged(
    record: Record,
    told: dict[str, tuple[bool, bool]] | BadRecord,
    counts: Verdicts,
    model: str,
    run: str,
) -> Record | Failure:
    if isinstance(told, BadRecord):
        return Failure(record, told.kind, f"{record['file_name']}: {told.message}")
    counts.add(told)
    relevant = {name: verdict[0] for name, verdict in told.items()}
    vague = {name: verdict[1] for name, verdict in told.items()}
    version = instructions.VERSION
    return annotate(
        record, "judge", model=model, run=run, instructions=version, relevant=relevant, vague=vague
    )


def _described(record: Record) -> dict[str, str]:
    """The descriptions of a record by name: its attributes, or its whole style; its content."""
    attributes = {
        key.removeprefix("style_"): record[key] for key in ATTRIBUTE_KEYS if key in record
    }
    whole = {} if attributes else {"style": record.get("style")}
    found = {**attributes, **whole, "content": record.get("content")}
    return {name: value for name, value in found.items() if isinstance(value, str) and value}


def _listed(described: dict[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in described.items())
