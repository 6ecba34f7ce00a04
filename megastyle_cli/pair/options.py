"""The options of `pair`: which contents, how many for each style, and how pairs are named."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """How many contents each style is paired with, and how pairs are named."""

    HEADING: ClassVar[str] = "Method"

    contents: list[str] | None = option(
        None,
        metavar="PATH",
        show_default=False,
        help="Content records or images: a file or folder; repeatable.",
        heading="Input",
        is_common=True,
        is_required=True,
        file="input",
    )
    per_style: int = option(
        8,
        "--per-style",
        "--contents-per-style",
        metavar="N",
        min=1,
        help="Number of contents per style.",
        is_common=True,
        changes_results="yes",
    )
    max_uses: int | None = option(
        None,
        metavar="N",
        min=1,
        show_default=False,
        help="Maximum number of uses of one content (default: no limit).",
        is_common=True,
        changes_results="if set",
    )
    ids: Literal["parents", "official"] = option(
        "parents",
        metavar="parents|official",
        help="Ids of pairs: from the ids of style and content, or s1_c1 by position.",
        changes_results="if set",
    )
