"""A scored set in memory: its records, their vectors, and their comparison with references."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from megastyle_cli.core.errors import TOO_MANY_FAILURES, MegastyleError
from megastyle_cli.core.record import PROVENANCE, Failure, Record
from megastyle_cli.evaluate.calibration import ReferenceBank
from megastyle_cli.evaluate.labels import label_of
from megastyle_cli.evaluate.references import References
from megastyle_cli.evaluate.score import STYLE, Scored, ScoringModels, score_records
from megastyle_cli.retrieval.embed import Array

PROVENANCE_KEYS = ("model", "text_model", "content_model", "references", "reference_set")
# n images, p of them with references


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Images (p,) and the references of all of them, in the space of one model.

    `rows` are row numbers in the scored set. `styles` names styles as the bank does: rows of the
    bank with another style are negatives.
    """

    rows: Array
    vectors: Array
    keys: Sequence[str]
    styles: Sequence[str]
    bank: ReferenceBank


@dataclass
class ScoredSet:
    """The scored records of a set; `label` is the key of their style."""

    label: str
    models: ScoringModels
    references: References
    scored: list[Scored] = field(default_factory=list)

    def add(self, records: Iterable[Record]) -> Iterator[Failure]:
        """Scores the records and keeps them; yields those that fail."""
        for result in score_records(records, models=self.models, references=self.references):
            if isinstance(result, Failure):
                yield result
            else:
                self.scored.append(result)

    @property
    def records(self) -> list[Record]:
        """The scored records. Raises MegastyleError if there are none."""
        if not self.scored:
            raise MegastyleError(
                "no image could be read", hint="see the errors above", exit_code=TOO_MANY_FAILURES
            )
        return [scored.record for scored in self.scored]

    def vectors(self, role: str) -> Array:
        """The vectors (n, d) of the images by the model of that role."""
        return np.stack([scored.features[role] for scored in self.scored])

    @cached_property
    def labelled(self) -> "ScoredSet":
        """The records with a style label, of a picture and its copies the first: for retrieval."""
        kept: dict[tuple[str, bytes], Scored] = {}
        for scored in self.scored:
            if label_of(scored.record, self.label) is not None:
                vector = scored.features[STYLE].tobytes()
                kept.setdefault((scored.record["id"], vector), scored)
        return replace(self, scored=list(kept.values()))

    @cached_property
    def groups(self) -> list[str]:
        """The label of each record; a record without a label is alone in its group."""
        return [label_of(record, self.label) or record["id"] for record in self.records]

    @cached_property
    def styles(self) -> list[str]:
        """The style of each record: its label, else the key of its references, else its id."""
        keys = [scored.key or scored.record["id"] for scored in self.scored]
        return [
            label_of(record, self.label) or str(key)
            for record, key in zip(self.records, keys, strict=True)
        ]

    @property
    def has_groups(self) -> bool:
        """Whether there are two or more groups, at least one of them with two or more images."""
        return bool(self.scored) and 1 < len(set(self.groups)) < len(self.groups)

    def values(self, name: str) -> Array:
        """The number each record has under `name`, (n,) float64; NaN where it has none."""
        found = [record.get(name) for record in self.records]
        return np.array([v if isinstance(v, int | float) else np.nan for v in found], float)

    def compare(self, role: str) -> Comparison | None:
        """The images that have references, with those references; None if no image has any."""
        rows = [row for row, scored in enumerate(self.scored) if scored.key is not None]
        if not rows:
            return None
        keys = [str(self.scored[row].key) for row in rows]
        bank, styles = self.references.bank(role, keys, [self.styles[row] for row in rows])
        return Comparison(
            rows=np.array(rows),
            vectors=np.stack([self.scored[row].features[role] for row in rows]),
            keys=keys,
            styles=styles,
            bank=bank,
        )

    @property
    def provenance(self) -> Record:
        """The models and references in use, else those that all records note from before."""
        in_use = {**self.models.provenance, **self.references.provenance}
        values = {key: in_use.get(key, self._shared_note(key)) for key in PROVENANCE_KEYS}
        return {key: value for key, value in values.items() if value is not None}

    @property
    def style_prompts(self) -> list[str]:
        """The distinct texts under `style`, in order."""
        texts = [record.get("style") for record in self.records]
        return list(dict.fromkeys(text for text in texts if isinstance(text, str)))

    def _shared_note(self, key: str) -> Any:
        notes = [record.get(PROVENANCE, {}).get("eval") for record in self.records]
        values = [note.get(key) if isinstance(note, dict) else None for note in notes]
        return values[0] if values.count(values[0]) == len(values) else None
