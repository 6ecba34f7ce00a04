"""The options of `eval`: the references, the models, and the measures."""

from dataclasses import dataclass
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
        help="Measure how much content of references is copied.",
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
