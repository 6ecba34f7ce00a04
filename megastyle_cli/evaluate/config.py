"""Settings of `eval`: how images are scored, and what a summary reports."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from megastyle_cli.core.record import Record, recorded_weights
from megastyle_cli.evaluate.references import (
    OwnReferences,
    References,
    load_references,
    reference_fingerprint,
)
from megastyle_cli.evaluate.score import ScoringModels
from megastyle_cli.io.images import ImageReader
from megastyle_cli.models.protocols import Ranks
from megastyle_cli.models.registry import load
from megastyle_cli.retrieval.embed import Array

CONTENT_MODEL = "megastyle_cli.models.builtin.imagenet:ContentDescriptor"


@dataclass(frozen=True, kw_only=True)
class ScoringConfig:
    """How images are scored: the models, and the references to compare with.

    `references` are records that all images are compared with (those of equal `pair_by`, if it is
    set), and `others` are images of other styles; without `references` each record is compared
    with its own `style_file_name`. `leakage` adds content similarity, by the text model if there is
    one, otherwise by a builtin network.
    """

    backend: str
    model: str | None = None
    text_model: str | None = None
    text_key: str = "content"
    leakage: bool = False
    references: Sequence[Record] = ()
    others: Sequence[Record] = ()
    pair_by: str | None = None
    hardware: dict[str, str] = field(default_factory=dict)  # device and dtype of named models

    @property
    def options(self) -> Record:
        """The options that change a scored record, for the run key; options not used are left
        out."""
        options: Record = {"backend": self.backend, **recorded_weights("model", self.model)}
        if self.text_model:
            options |= recorded_weights("text_model", self.text_model)
            options["text_key"] = self.text_key
        if self.references:
            options["reference_set"] = reference_fingerprint(self.references, self.pair_by)
        if self.others:
            options["other_set"] = reference_fingerprint(self.others, None)
        return options | ({"leakage": True} if self.leakage else {})

    def load(
        self,
        reader: ImageReader,
        full_size_reader: ImageReader,
        cache_size: int | None = None,
        ranks: Ranks | None = None,
    ) -> "Scorer":
        """The loaded models and references.

        `reader` and `full_size_reader` are those of `load_models`. `cache_size` limits how many
        references of single records are cached; None caches all. With `ranks` all processes of a
        launcher encode images.
        """
        if ranks is not None:
            ranks.start()
        models = replace(self.load_models(reader, full_size_reader), ranks=ranks)
        if ranks is not None:
            ranks.work = models.extract_share
        extractors = models.reference_extractors
        if not self.references:
            return Scorer(models, OwnReferences(extractors, cache_size))
        references = load_references(
            self.references, extractors, pair_by=self.pair_by, others=self.others
        )
        return Scorer(models, references)

    def load_models(self, reader: ImageReader, full_size_reader: ImageReader) -> ScoringModels:
        """The loaded models.

        `reader` opens images for the builtin encoders, `full_size_reader` for the text model and
        for a `model` that was trained elsewhere.
        """
        text = None
        if self.text_model:
            text = load("text_image", "auto", model=self.text_model, **self.hardware)
        content = text or (load("style_encoder", CONTENT_MODEL) if self.leakage else None)
        model_option = {"model": self.model, **self.hardware} if self.model else {}
        return ScoringModels(
            style=load("style_encoder", self.backend, **model_option),
            reader=full_size_reader if self.model else reader,
            full_size_reader=full_size_reader,
            text=text,
            content=content if self.leakage else None,
            text_key=self.text_key,
        )


@dataclass(frozen=True)
class Scorer:
    """Loaded models and references."""

    models: ScoringModels
    references: References

    def embed_prompts(self, prompts: Sequence[str]) -> Array | None:
        """Unit vectors (p, d) of the prompts, by the text model or else by the builtin text
        embedder; None if there are no prompts."""
        if not prompts:
            return None
        text = self.models.text
        embed = text.embed_texts if text else load("text_embedder", "builtin").embed
        vectors: Array = embed(prompts)
        return vectors


@dataclass(frozen=True, kw_only=True)
class SummaryConfig:
    """What a summary reports besides the scores.

    `label` and `content_label` are the keys of an image's style and content, `ks` the ranks of the
    retrieval measures. `split_key` is a key whose value "query" marks the queries, all other images
    being the gallery; with None every image is a query and all others are its gallery. `benchmark`
    is the hash of a benchmark.
    """

    label: str = "style_id"
    content_label: str = "content_id"
    ks: Sequence[int] = (1, 10)
    seed: int = 0
    diversity: bool = False
    split_key: str | None = None
    benchmark: str | None = None

    @property
    def options(self) -> Record:
        """The options that change a summary, for the run key; options not used are left out."""
        options: Record = {
            "label": self.label,
            "content_label": self.content_label,
            "ks": list(self.ks),
            "seed": self.seed,
        }
        if self.diversity:
            options["diversity"] = True
        return options | ({"benchmark": self.benchmark} if self.benchmark else {})
