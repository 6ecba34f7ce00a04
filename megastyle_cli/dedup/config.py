"""Which measures of likeness `dedup` takes, and what each preset means by alike."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from megastyle_cli.core.choices import DedupPreset, EmbedderName, ExactText, KeepPolicy, NgramUnit
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.dedup.semantic import SemanticOptions


@dataclass(frozen=True, kw_only=True)
class NearOptions:
    """The share of n-grams in common (Jaccard) from which two texts are nearly the same.

    `bands` x `band_rows` MinHash values find the candidates, which are then compared themselves:
    a pair of similarity s is a candidate with probability 1 - (1 - s**band_rows)**bands. With
    threshold 0 candidates are not compared. Grams that at least `template` of the texts have count
    only where two texts differ in them, up to 20 of a text; with 0 all count.
    """

    threshold: float = 0.72
    ngram: int = 1
    of: NgramUnit = "words"
    bands: int = 32
    band_rows: int = 8
    seed: int = 0
    template: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """The measures asked for; None for one that is not."""

    exact: ExactText | None = "normalized"
    near: NearOptions | None = None
    semantic: SemanticOptions | None = None
    keep: KeepPolicy = "first"

    def told(self) -> dict[str, Any]:
        """All that can change a verdict, as options of a run."""
        return asdict(self)


# exact and near of each; `nemo` has the numbers of NeMo-Curator 1.x
PRESETS: dict[DedupPreset, tuple[ExactText, NearOptions]] = {
    "styles": ("normalized", NearOptions(template=0.2)),
    "contents": ("normalized", NearOptions(threshold=0.82, ngram=3, of="characters")),
    "nemo": (
        "raw",
        NearOptions(threshold=0.0, ngram=24, of="characters", bands=20, band_rows=13, seed=42),
    ),
}
# least cosine of each rung of the ladder of embedders
THRESHOLDS: dict[EmbedderName, float] = {"static": 0.99, "verified": 0.95, "sentence": 0.95}


def chosen(
    preset: DedupPreset,
    *,
    exact: bool,
    exact_text: ExactText | None,
    near: bool,
    near_threshold: float | None,
    ngram: int | None,
    ngram_of: NgramUnit | None,
    semantic: bool,
    semantic_threshold: float | None,
    semantic_recall: float = 0.99,
    embedder: EmbedderName,
    keep: KeepPolicy,
) -> Options:
    """The preset's values, but for those that are given.

    Raises MegastyleError if `keep` asks for vectors that nothing makes.
    """
    if keep in ("hard", "easy") and not semantic:
        raise MegastyleError(
            f"--keep {keep} ranks by embeddings, and --no-semantic makes none",
            hint="leave out one of them",
        )
    text, nearly = PRESETS[preset]
    given = {"threshold": near_threshold, "ngram": ngram, "of": ngram_of}
    if ngram is not None or ngram_of is not None:
        nearly = replace(nearly, template=0.0)  # it was chosen for words
    nearly = replace(nearly, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    least = semantic_threshold
    if least is None:
        least = 0.99 if preset == "nemo" else THRESHOLDS[embedder]
    akin = SemanticOptions(
        threshold=least, recall=semantic_recall, is_verified=embedder == "verified"
    )
    return Options(
        exact=(exact_text or text) if exact else None,
        near=nearly if near else None,
        semantic=akin if semantic else None,
        keep=keep,
    )
