"""The options of `eval` that make a page for voters, or count their votes."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class PreferenceOptions:
    """Blind votes between the images of several systems."""

    HEADING: ClassVar[str] = "Benchmark"

    make_preference: Path | None = option(
        None,
        metavar="DIR",
        help="Create a page on which people choose between the images of two --system at a time:"
        " write DIR/page.html, and DIR/key.json, which voters must not see.",
        show_default=False,
        changes_results="derived",
        file="output folder",
    )
    comparisons: int = option(
        150,
        "--comparisons",
        metavar="N",
        min=1,
        help="Pairs of images for --make-preference.",
        changes_results="derived",
    )
    preference: Path | None = option(
        None,
        metavar="DIR",
        help="Rank the systems of the page in DIR by the files of votes that are the input.",
        show_default=False,
        changes_results="derived",
        file="input",
    )


def check_preference_options(options: PreferenceOptions, systems: list[str] | None) -> None:
    """Raises MegastyleError for options that do not fit together."""
    if options.make_preference and options.preference:
        raise MegastyleError(
            "--make-preference makes a page, --preference counts its votes", hint="give one of them"
        )
    if options.make_preference and len(systems or []) < 2:
        raise MegastyleError(
            "--make-preference compares the images of several systems",
            hint="give --system twice or more, such as --system A=outputs_a --system B=outputs_b",
        )
