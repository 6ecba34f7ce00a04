"""Judges captions with a vision-language model: is each visible in the image, and is it vague?

Source: the two measures of MegaStyle++ (arXiv 2609.01423); the prompt is ours.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from megastyle_cli.captioning import prompts
from megastyle_cli.captioning.retry import ParsedAnswer, Request, RetryingClient
from megastyle_cli.captioning.validate import Verdict, parse_verdicts
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Failure, Record, annotate
from megastyle_cli.core.style import ATTRIBUTE_KEYS

if TYPE_CHECKING:
    from megastyle_cli.io.images import ImageReader


class JudgeCounts:
    """Per kind of description: how many were judged, called relevant, called vague. Thread-safe."""

    def __init__(self) -> None:
        self.judged: Counter[str] = Counter()
        self.relevant: Counter[str] = Counter()
        self.vague: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, verdicts: dict[str, Verdict]) -> None:
        """Counts the verdicts on one record."""
        with self._lock:
            self.judged.update(verdicts.keys())
            self.relevant.update(name for name, verdict in verdicts.items() if verdict.relevant)
            self.vague.update(name for name, verdict in verdicts.items() if verdict.vague)

    def shares(self) -> dict[str, dict[str, float]]:
        """By name: the number judged, and the shares in [0, 1] that are relevant and vague."""
        return {
            name: {
                "judged": count,
                "relevant": round(self.relevant[name] / count, 4),
                "vague": round(self.vague[name] / count, 4),
            }
            for name, count in sorted(self.judged.items())
        }

    def remarks(self) -> list[str]:
        """The shares as one line for the summary of a run; empty if nothing was judged."""
        line = " \u00b7 ".join(
            f"{name} {share['relevant']:.1%} relevant {share['vague']:.1%} vague"
            for name, share in self.shares().items()
        )
        return [f"judged: {line}"] if line else []


def judge(
    records: Iterable[Record],
    client: RetryingClient,
    reader: ImageReader,
    counts: JudgeCounts,
    *,
    run: str,
) -> Iterator[Record | Failure]:
    """Adds verdicts on each attribute (else on the style) and the content to the provenance.

    One result per record, in order. A record without style and content fails as missing_key.
    """
    batch = list(records)
    images = reader.read_key(batch, "file_name")
    requests = [
        Request(
            prompt=prompts.JUDGE.about(image, described=_as_list(descriptions)),
            parse=partial(parse_verdicts, names=descriptions),
        )
        for record, image in zip(batch, images, strict=True)
        if not isinstance(image, BadRecord) and (descriptions := _descriptions(record))
    ]
    answers = iter(client.ask(requests))
    for record, image in zip(batch, images, strict=True):
        if isinstance(image, BadRecord):
            yield Failure.of(record, image)
        elif not _descriptions(record):
            message = f"record {record['id']} has no style and no content: caption it first"
            yield Failure(record, "missing_key", message, "style")
        else:
            yield _with_verdicts(record, next(answers), counts, client.model.name, run)


def _with_verdicts(
    record: Record,
    answer: ParsedAnswer[dict[str, Verdict]],
    counts: JudgeCounts,
    model: str,
    run: str,
) -> Record | Failure:
    verdicts = answer.value
    if isinstance(verdicts, BadRecord):
        return Failure(record, verdicts.kind, f"{record['file_name']}: {verdicts.message}")
    counts.add(verdicts)
    return annotate(
        record,
        "judge",
        model=model,
        run=run,
        instructions=prompts.VERSION,
        relevant={name: verdict.relevant for name, verdict in verdicts.items()},
        vague={name: verdict.vague for name, verdict in verdicts.items()},
    )


def _descriptions(record: Record) -> dict[str, str]:
    """The descriptions in a record by name: its attributes, else its style; and its content."""
    attributes = {
        key.removeprefix("style_"): record[key] for key in ATTRIBUTE_KEYS if key in record
    }
    style = attributes or {"style": record.get("style")}
    found = {**style, "content": record.get("content")}
    return {name: value for name, value in found.items() if isinstance(value, str) and value}


def _as_list(descriptions: dict[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in descriptions.items())
