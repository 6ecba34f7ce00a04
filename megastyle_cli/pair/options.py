"""The options of `pair`: which contents, how many for each style, and how pairs are named."""

from dataclasses import dataclass
from typing import Literal

from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """How many contents each style is paired with, and how pairs are named."""

    contents: list[str] | None = option(
        None,
        metavar="PATH",
        show_default=False,
        help="Content records or pictures: file or folder; may be repeated.",
        file="input",
    )
    per_style: int = option(
        8,
        "--per-style",
        "--contents-per-style",
        metavar="N",
        min=1,
        help="Contents a style.",
        changes_results="yes",
    )
    max_uses: int | None = option(
        None,
        metavar="M",
        min=1,
        show_default=False,
        help="Use no content more often than that.",
        changes_results="if set",
    )
    ids: Literal["parents", "official"] = option(
        "parents",
        metavar="parents|official",
        help="What pairs are called: by their parents' ids, or s1_c1 by their places.",
        changes_results="if set",
    )
