"""The options of `eval`: the references, the models, and the measures."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """Options that affect the score of one image."""

    HEADING: ClassVar[str] = "Method"

    reference: list[str] | None = option(
        None,
        metavar="PATH",
        help="References for all images; repeatable (default: style_file_name).",
        is_common=True,
        show_default=False,
        changes_results="derived",
        file="input",
    )
    pair_by: str | None = option(
        None,
        metavar="KEY",
        help="Score only against references with the same KEY; stem: the same file stem.",
        show_default=False,
        changes_results="derived",
    )
    others: list[str] | None = option(
        None,
        metavar="PATH",
        help="Images of other styles, as a baseline for --reference; repeatable.",
        show_default=False,
        changes_results="derived",
        file="input",
    )
    each: bool = option(
        False,
        "--each",
        help="Write every record with its scores instead of a summary.",
        is_common=True,
        changes_results="derived",
    )
    text_model: str | None = option(
        None,
        metavar="NAME",
        help="CLIP or SigLIP for the text score: a Hugging Face name or a folder.",
        heading="Model",
        is_common=True,
        show_default=False,
        changes_results="derived",
    )
    prompt_key: str = option(
        "content",
        metavar="KEY",
        help="Record key of the prompt for the text score.",
        changes_results="derived",
    )
    leakage: bool = option(
        False,
        "--leakage",
        help="Measure how much of the references' content is in the images.",
        is_common=True,
        changes_results="derived",
    )


@dataclass(frozen=True, kw_only=True)
class SummaryOptions:
    """Options of the summary over all images."""

    HEADING: ClassVar[str] = "Method"

    diversity: bool = option(
        False,
        "--diversity",
        help="Measure the diversity of images and style prompts: MPD, Vendi score, MNND.",
        is_common=True,
        changes_results="derived",
    )
    label: str = option(
        "style_id",
        metavar="KEY",
        help="Record key that names the style of an image.",
        is_common=True,
        changes_results="derived",
    )
    content_label: str = option(
        "content_id",
        metavar="KEY",
        help="Record key that names the content; retrieval ignores images of the query's content.",
        changes_results="derived",
    )
    ranks: str = option(
        "1,10",
        "--ranks",
        metavar="N,N",
        help="Values of k for Recall@k and mAP@k.",
        changes_results="derived",
    )


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """A benchmark to run, or to create."""

    HEADING: ClassVar[str] = "Benchmark"

    benchmark: Path | None = option(
        None,
        metavar="DIR",
        help="Run the benchmark in DIR; takes no input.",
        is_common=True,
        show_default=False,
        changes_results="derived",
        file="input",
    )
    make_benchmark: Path | None = option(
        None,
        metavar="DIR",
        help="Create a benchmark from the input: write DIR/metadata.jsonl.",
        show_default=False,
        changes_results="derived",
        file="output folder",
    )
    styles: int = option(
        100,
        "--styles",
        metavar="N",
        min=2,
        help="Number of styles for --make-benchmark.",
        changes_results="derived",
    )
    per_style: int = option(
        8,
        "--per-style",
        metavar="N",
        min=1,
        help="Number of contents per style for --make-benchmark.",
        changes_results="derived",
    )
    split_key: str | None = option(
        None,
        metavar="KEY",
        help='Use only records with the value "heldout" under KEY for --make-benchmark.',
        show_default=False,
        changes_results="derived",
    )
