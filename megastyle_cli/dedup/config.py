"""Configuration of `dedup`: which stages run, with which thresholds, and the presets."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from megastyle_cli.core.choices import EmbedderName
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.dedup.options import (
    DedupOptions,
    DedupPreset,
    ExactText,
    KeepPolicy,
    NgramUnit,
)


@dataclass(frozen=True, kw_only=True)
class NearConfig:
    """Near duplicates: texts whose n-grams have a Jaccard similarity of at least `threshold`.

    `bands` x `band_rows` MinHash values find candidate pairs, which are then compared exactly: a
    pair of similarity s becomes a candidate with probability 1 - (1 - s**band_rows)**bands. With
    threshold 0 candidates are not compared. N-grams that at least a share `template` of the texts
    have count only where two texts differ in them (at most 20 per pair); with 0 all count.
    """

    threshold: float = 0.72
    ngram: int = 1
    of: NgramUnit = "words"
    bands: int = 32
    band_rows: int = 8
    seed: int = 0
    template: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SemanticConfig:
    """Semantic duplicates: texts whose embeddings have a cosine of at least `threshold`.

    With `is_verified`, pairs with a cosine of at least `candidates` by the first embedder are
    embedded again by the second one, whose cosine decides. At least a share `recall` of the pairs
    above the threshold is found; with 1 all pairs are compared.
    """

    threshold: float = 0.99
    recall: float = 0.99
    is_verified: bool = False
    candidates: float = 0.85


@dataclass(frozen=True, kw_only=True)
class DedupConfig:
    """The stages that run (None: skipped), and which text of a group of duplicates is kept."""

    exact: ExactText | None = "normalized"
    near: NearConfig | None = None
    semantic: SemanticConfig | None = None
    keep: KeepPolicy = "first"

    def as_dict(self) -> dict[str, Any]:
        """Everything that can change the result, as options of a run."""
        return asdict(self)


# exact and near; `nemo` has the values of NeMo-Curator 1.x
PRESETS: dict[DedupPreset, tuple[ExactText, NearConfig]] = {
    "styles": ("normalized", NearConfig(template=0.2)),
    "contents": ("normalized", NearConfig(threshold=0.82, ngram=3, of="characters")),
    "nemo": (
        "raw",
        NearConfig(threshold=0.0, ngram=24, of="characters", bands=20, band_rows=13, seed=42),
    ),
}
SEMANTIC_THRESHOLDS: dict[EmbedderName, float] = {
    "static": 0.99,
    "verified": 0.95,
    "sentence": 0.95,
}


def resolve_config(options: DedupOptions, embedder: EmbedderName) -> DedupConfig:
    """The preset's values, overridden by the options that are not None.

    `ngram` or `ngram_of` also switches off the rule for common n-grams, which was tuned for words.
    Raises MegastyleError if `keep` ranks by embeddings and the semantic stage is off.
    """
    if options.keep in ("hard", "easy") and not options.semantic:
        raise MegastyleError(
            f"--keep {options.keep} ranks by embeddings, but --no-semantic computes none",
            hint="omit one of them",
        )
    preset = options.preset or ("contents" if options.on == "content" else "styles")
    exact_text, near = PRESETS[preset]
    if options.ngram is not None or options.ngram_of is not None:
        near = replace(near, template=0.0)
    if options.near_threshold is not None:
        near = replace(near, threshold=options.near_threshold)
    semantic_threshold = options.semantic_threshold
    if semantic_threshold is None:
        semantic_threshold = 0.99 if preset == "nemo" else SEMANTIC_THRESHOLDS[embedder]
    semantic = SemanticConfig(
        threshold=semantic_threshold,
        recall=options.semantic_recall,
        is_verified=embedder == "verified",
    )
    return DedupConfig(
        exact=(options.exact_text or exact_text) if options.exact else None,
        near=replace(near, ngram=options.ngram or near.ngram, of=options.ngram_of or near.of)
        if options.near
        else None,
        semantic=semantic if options.semantic else None,
        keep=options.keep,
    )
