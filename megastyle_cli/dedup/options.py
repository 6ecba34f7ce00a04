"""The options of `dedup`: which stages run, how strict they are, and which duplicate is kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from megastyle_cli.core.choices import EmbedderName
from megastyle_cli.core.option import option

DedupPreset = Literal["styles", "contents", "nemo"]
ExactText = Literal["normalized", "raw"]
NgramUnit = Literal["words", "characters"]
KeepPolicy = Literal["first", "longest", "hard", "easy"]


@dataclass(frozen=True, kw_only=True)
class DedupOptions:
    """What is compared and how; options that are None come from the preset."""

    on: str = option("style", metavar="KEY", help="The text to compare.", changes_results="yes")
    preset: DedupPreset | None = option(
        None,
        metavar="styles|contents|nemo",
        help="Values of all measures; default: contents with --on content, else styles.",
        show_default=False,
        changes_results="derived",
    )
    exact: bool = option(True, help="Drop texts that are the same.", changes_results="derived")
    exact_text: ExactText | None = option(
        None,
        metavar="normalized|raw",
        help="The same but for case, width and spaces, or to the byte; default: preset's.",
        show_default=False,
        changes_results="derived",
    )
    near: bool = option(
        True, help="Drop texts that are nearly the same.", changes_results="derived"
    )
    near_threshold: float | None = option(
        None,
        metavar="J",
        min=0,
        max=1,
        help="Least share of n-grams in common; default: preset's.",
        show_default=False,
        changes_results="derived",
    )
    ngram: int | None = option(
        None,
        metavar="N",
        min=1,
        help="Words or characters of an n-gram; default: preset's.",
        show_default=False,
        changes_results="derived",
    )
    ngram_of: NgramUnit | None = option(
        None,
        metavar="words|characters",
        help="What n-grams are made of; default: preset's.",
        show_default=False,
        changes_results="derived",
    )
    semantic: bool = option(True, help="Drop texts of the same meaning.", changes_results="derived")
    semantic_threshold: float | None = option(
        None,
        metavar="COS",
        min=-1,
        max=1,
        help="Least cosine of the embeddings; default: preset's.",
        show_default=False,
        changes_results="derived",
    )
    semantic_recall: float = option(
        0.99,
        metavar="R",
        min=0,
        max=1,
        help="Least share of close pairs to find among over 100,000 texts; 1 compares all.",
        changes_results="derived",
    )
    embedder: EmbedderName | None = option(
        None,
        metavar="static|verified|sentence",
        help="Token vectors, those checked by a sentence model, or that alone;"
        " default: static, or sentence with --model or --preset nemo.",
        show_default=False,
        changes_results="derived",
    )
    keep: KeepPolicy = option(
        "first",
        metavar="first|longest|hard|easy",
        help="Which of the like stays: hard is farthest from its cluster's centroid.",
        changes_results="derived",
    )


@dataclass(frozen=True, kw_only=True)
class DedupReportOptions:
    """Outputs besides the kept records."""

    report: Path | None = option(
        None,
        metavar="FILE",
        help="Write the stages and largest groups.",
        show_default=False,
        file="output",
    )
    rejected: str | None = option(
        None,
        metavar="FILE",
        help="Where the dropped records go.",
        show_default=False,
        file="output",
    )
