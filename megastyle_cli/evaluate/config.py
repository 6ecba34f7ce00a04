"""The flags that say how one picture is scored, as options of a run and as loaded models."""

from collections.abc import Sequence
from dataclasses import dataclass

from megastyle_cli.core.record import Record
from megastyle_cli.evaluate.references import (
    OwnReferences,
    References,
    given_references,
    reference_set,
)
from megastyle_cli.evaluate.score import Models
from megastyle_cli.io.record_images import ReadPictures
from megastyle_cli.models.registry import load
from megastyle_cli.retrieve.nearest import Array

CONTENT_MODEL = "megastyle_cli.models.builtin.content:ContentDescriptor"


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """How pictures are scored: by which models, against which references.

    `given` are reference records for all, by `pair_by`, and `others` strangers to all; without
    them each record has its own reference. `leakage` asks how much content came along, by the
    text model or else by a builtin network.
    """

    backend: str
    model: str | None = None
    text_model: str | None = None
    text_key: str = "content"
    leakage: bool = False
    given: Sequence[Record] = ()
    others: Sequence[Record] = ()
    pair_by: str | None = None

    @property
    def told(self) -> Record:
        """What of it can change a record; what is not asked for is not mentioned."""
        told: Record = {"backend": self.backend}
        if self.model:
            told["model"] = self.model
        if self.text_model:
            told |= {"text_model": self.text_model, "text_key": self.text_key}
        if self.given:
            told["reference_set"] = reference_set(self.given, self.pair_by)
        return told | ({"leakage": True} if self.leakage else {})

    def load(
        self, read: ReadPictures, read_whole: ReadPictures, most: int | None = None
    ) -> "Loaded":
        """The models, and the references as they see them; at most so many own ones are kept.

        `read_whole` opens pictures as models that were trained elsewhere want them, `read` as the
        builtin ones do.
        """
        text = load("text_image", "auto", model=self.text_model) if self.text_model else None
        content = text or (load("style_encoder", CONTENT_MODEL) if self.leakage else None)
        named = {"model": self.model} if self.model else {}
        models = Models(
            style=load("style_encoder", self.backend, **named),
            read=read_whole if self.model else read,
            read_whole=read_whole,
            text=text,
            content=content if self.leakage else None,
            text_key=self.text_key,
        )
        sights = models.reference_sights
        if not self.given:
            return Loaded(models, OwnReferences(sights, most))
        found = given_references(self.given, sights, pair_by=self.pair_by, others=self.others)
        return Loaded(models, found)


@dataclass(frozen=True)
class Loaded:
    """Models and references, ready to score."""

    models: Models
    references: References

    def prompt_vectors(self, prompts: Sequence[str]) -> Array | None:
        """The prompts (p, d) by the text model, else by the builtin embedder; None if none."""
        if not prompts:
            return None
        text = self.models.text
        embed = text.embed_texts if text else load("text_embedder", "builtin").embed
        rows: Array = embed(prompts)
        return rows
