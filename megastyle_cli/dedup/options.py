"""The options of `dedup`: which stages run, how strict they are, and which duplicate is kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from megastyle_cli.core.choices import EmbedderName
from megastyle_cli.core.option import option

DedupPreset = Literal["styles", "contents", "nemo"]
ExactText = Literal["normalized", "raw"]
NgramUnit = Literal["words", "characters"]
KeepPolicy = Literal["first", "longest", "hard", "easy"]


@dataclass(frozen=True, kw_only=True)
class DedupOptions:
    """What is compared and how; options that are None come from the preset."""

    HEADING: ClassVar[str] = "Method"

    on: str = option(
        "style",
        metavar="KEY",
        help="Record key whose text is compared.",
        is_common=True,
        changes_results="yes",
    )
    preset: DedupPreset | None = option(
        None,
        metavar="styles|contents|nemo",
        help="Set of thresholds (default: contents with --on content, else styles).",
        is_common=True,
        show_default=False,
        changes_results="derived",
    )
    exact: bool = option(True, help="Drop equal texts.", changes_results="derived")
    exact_text: ExactText | None = option(
        None,
        metavar="normalized|raw",
        help="Compare texts ignoring case, width and spaces, or byte for byte (default: preset's).",
        show_default=False,
        changes_results="derived",
    )
    near: bool = option(
        True, help="Drop near duplicates: texts that share n-grams.", changes_results="derived"
    )
    near_threshold: float | None = option(
        None,
        metavar="S",
        min=0,
        max=1,
        help="Minimum Jaccard similarity of n-grams, 0 to 1 (default: preset's).",
        is_common=True,
        show_default=False,
        changes_results="derived",
    )
    ngram: int | None = option(
        None,
        metavar="N",
        min=1,
        help="Length of n-grams (default: preset's).",
        show_default=False,
        changes_results="derived",
    )
    ngram_of: NgramUnit | None = option(
        None,
        metavar="words|characters",
        help="Unit of n-grams (default: preset's).",
        show_default=False,
        changes_results="derived",
    )
    semantic: bool = option(
        True,
        help="Drop texts with the same meaning, by their embeddings.",
        is_common=True,
        changes_results="derived",
    )
    semantic_threshold: float | None = option(
        None,
        metavar="S",
        min=-1,
        max=1,
        help="Minimum cosine of embeddings (default: 0.95 or 0.99, by --embedder).",
        is_common=True,
        show_default=False,
        changes_results="derived",
    )
    semantic_recall: float = option(
        0.99,
        metavar="S",
        min=0,
        max=1,
        help="Minimum share of close pairs to find among over 100,000 texts; 1 compares all pairs.",
        changes_results="derived",
    )
    embedder: EmbedderName | None = option(
        None,
        metavar="static|verified|sentence",
        help="Token vectors, token vectors checked by a sentence model, or a sentence model"
        " (default: static; sentence with --model or --preset nemo).",
        show_default=False,
        changes_results="derived",
    )
    keep: KeepPolicy = option(
        "first",
        metavar="first|longest|hard|easy",
        help="Which duplicate to keep; hard: farthest from its centroid, easy: nearest to it.",
        is_common=True,
        changes_results="derived",
    )


@dataclass(frozen=True, kw_only=True)
class DedupReportOptions:
    """Outputs besides the kept records."""

    HEADING: ClassVar[str] = "Output"

    report: Path | None = option(
        None,
        metavar="FILE",
        help="Write a JSON report: counts per stage and the largest groups of duplicates.",
        show_default=False,
        file="output",
    )
    rejected: str | None = option(
        None,
        metavar="FILE",
        help="File for the dropped records, with the reason for each.",
        is_common=True,
        show_default=False,
        file="output",
    )
