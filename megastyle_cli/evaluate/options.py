"""The options of `eval`: what pictures are scored against, and which measures are taken."""

from dataclasses import dataclass
from pathlib import Path

from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """What a score of one picture depends on."""

    reference: list[str] | None = option(
        None,
        metavar="PATH",
        help="Score all against these pictures; may be repeated.",
        show_default=False,
        changes_results="derived",
        file="input",
    )
    pair_by: str | None = option(
        None,
        metavar="KEY",
        help="Only against those of equal KEY, or of equal file stem: stem.",
        show_default=False,
        changes_results="derived",
    )
    others: list[str] | None = option(
        None,
        metavar="PATH",
        help="Pictures of other styles, to read --reference against.",
        show_default=False,
        changes_results="derived",
        file="input",
    )
    each: bool = option(
        False, "--each", help="Pass on every record, scored.", changes_results="derived"
    )
    text_model: str | None = option(
        None,
        metavar="NAME",
        help="A whole CLIP or SigLIP, for the text score: folder or name.",
        show_default=False,
        changes_results="derived",
    )
    prompt_key: str = option(
        "content",
        metavar="KEY",
        help="What a picture was asked to show.",
        changes_results="derived",
    )
    leakage: bool = option(
        False,
        "--leakage",
        help="How much of the references' content is in them.",
        changes_results="derived",
    )


@dataclass(frozen=True, kw_only=True)
class SummaryOptions:
    """What is summarised over all pictures."""

    diversity: bool = option(
        False,
        "--diversity",
        help="MPD, Vendi and MNND of pictures and style prompts.",
        changes_results="derived",
    )
    label: str = option(
        "style_id",
        metavar="KEY",
        help="Pictures of one style share this key's value.",
        changes_results="derived",
    )
    content_label: str = option(
        "content_id",
        metavar="KEY",
        help="As --label, for contents; retrieval is among other contents.",
        changes_results="derived",
    )
    ranks: str = option(
        "1,10", "--ranks", metavar="K,K", help="k of the measures.", changes_results="derived"
    )


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """A benchmark that is run, or made."""

    benchmark: Path | None = option(
        None,
        metavar="DIR",
        help="Run the benchmark in DIR; it takes no input.",
        show_default=False,
        changes_results="derived",
        file="input",
    )
    make_benchmark: Path | None = option(
        None,
        metavar="DIR",
        help="Choose styles and contents, write DIR/metadata.jsonl.",
        show_default=False,
        changes_results="derived",
        file="output folder",
    )
    styles: int = option(
        100,
        "--styles",
        metavar="N",
        min=2,
        help="Styles of a benchmark.",
        changes_results="derived",
    )
    per_style: int = option(
        8,
        "--per-style",
        metavar="N",
        min=1,
        help="Contents a style.",
        changes_results="derived",
    )
    split_key: str | None = option(
        None,
        metavar="KEY",
        help='Styles whose records say "heldout" here are held out, no others.',
        show_default=False,
        changes_results="derived",
    )


@dataclass(frozen=True, kw_only=True)
class JsonOptions:
    """How a summary is printed."""

    as_json: bool = option(False, "--json", help="JSON also on a terminal.")
