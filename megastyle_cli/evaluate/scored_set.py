"""A scored set in memory: its records, its vectors, and how it compares with its references."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from megastyle_cli.core.errors import TOO_MANY_FAILURES, MegastyleError
from megastyle_cli.core.record import PROVENANCE, Failure, Record
from megastyle_cli.evaluate.calibration import Bank
from megastyle_cli.evaluate.references import References
from megastyle_cli.evaluate.score import Models, Scored, score_records
from megastyle_cli.retrieve.nearest import Array

FACTS = ("model", "text_model", "content_model", "references", "reference_set")
# n pictures, p of them with references, m references


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Pictures (p,) and the references of all of them, in the space of one model.

    `styles` are the bank's: to a picture the rows of other styles are strangers.
    """

    rows: Array
    vectors: Array
    keys: Sequence[str]
    styles: Sequence[str]
    bank: Bank


@dataclass
class Gathered:
    """The scored records of a set; `label` is the key of their style."""

    label: str
    models: Models
    references: References
    scored: list[Scored] = field(default_factory=list)

    def gather(self, records: Iterable[Record]) -> Iterator[Failure]:
        """Scores the records and keeps them; what cannot be read is yielded."""
        for result in score_records(records, models=self.models, references=self.references):
            if isinstance(result, Failure):
                yield result
            else:
                self.scored.append(result)

    @property
    def records(self) -> list[Record]:
        """The records alone. Raises MegastyleError if there are none."""
        if not self.scored:
            raise MegastyleError(
                "no picture could be read", hint="see the errors", exit_code=TOO_MANY_FAILURES
            )
        return [one.record for one in self.scored]

    def vectors(self, role: str) -> Array:
        """The vectors (n, d) of the pictures by the model of that role."""
        return np.stack([one.looks[role] for one in self.scored])

    @cached_property
    def groups(self) -> list[str]:
        """The label of each record; one without it is alone in its group."""
        return [str(record.get(self.label, record["id"])) for record in self.records]

    @cached_property
    def styles(self) -> list[str]:
        """The style of each record: its label, else what its references are, else it is alone."""
        keys = [one.key or one.record["id"] for one in self.scored]
        return [
            str(record.get(self.label, key)) for record, key in zip(self.records, keys, strict=True)
        ]

    @property
    def has_groups(self) -> bool:
        """Whether there are two styles or more, one of them with two pictures or more."""
        return 1 < len(set(self.groups)) < len(self.groups)

    def numbers(self, name: str) -> Array:
        """The number each record has under `name`, (n,); NaN where it has none."""
        found = [record.get(name) for record in self.records]
        return np.array([v if isinstance(v, int | float) else np.nan for v in found], float)

    def against(self, role: str) -> Compared | None:
        """The pictures that have references, and those; None if there are none."""
        rows = [row for row, one in enumerate(self.scored) if one.key is not None]
        if not rows:
            return None
        keys = [str(self.scored[row].key) for row in rows]
        bank, styles = self.references.bank(role, keys, [self.styles[row] for row in rows])
        return Compared(
            rows=np.array(rows),
            vectors=np.stack([self.scored[row].looks[role] for row in rows]),
            keys=keys,
            styles=styles,
            bank=bank,
        )

    @property
    def facts(self) -> Record:
        """The models and references, those at hand or those that all records note of before."""
        at_hand = {**self.models.facts, **self.references.facts}
        told = {name: at_hand.get(name, self._noted(name)) for name in FACTS}
        return {name: value for name, value in told.items() if value is not None}

    @property
    def style_prompts(self) -> list[str]:
        """The distinct texts under `style`, in order."""
        texts = [record.get("style") for record in self.records]
        return list(dict.fromkeys(text for text in texts if isinstance(text, str)))

    def _noted(self, name: str) -> Any:
        notes = [record.get(PROVENANCE, {}).get("eval") for record in self.records]
        told = [note.get(name) if isinstance(note, dict) else None for note in notes]
        return told[0] if told.count(told[0]) == len(told) else None
