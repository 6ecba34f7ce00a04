"""The options of `retrieve`: what is searched, by what, and how."""

from dataclasses import dataclass
from typing import Literal

from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class RetrieveOptions:
    """The index, the queries and the search."""

    index: list[str] | None = option(
        None,
        metavar="PATH",
        help="What to search: pictures, folders, JSON lines (repeat), or one saved index.",
        show_default=False,
        changes_results="derived",
        file="input",
    )
    add: list[str] | None = option(
        None,
        metavar="PATH",
        help="Add these pictures to the saved index, made if need be; may be repeated.",
        show_default=False,
        file="input",
    )
    prune: bool = option(
        False,
        "--prune",
        help="Drop rows of the saved index whose pictures are gone.",
    )
    top: int = option(
        10, "--top", metavar="K", min=1, help="Neighbours a query.", changes_results="yes"
    )
    keep_self: bool = option(
        False,
        "--keep-self",
        help="Let a query find itself in the index.",
        changes_results="yes",
    )
    prototype: bool = option(
        False,
        "--prototype",
        help="All queries are one: their mean.",
        changes_results="if set",
    )
    prototype_by: str | None = option(
        None,
        metavar="KEY",
        help="One query for each value of KEY.",
        show_default=False,
        changes_results="if set",
    )
    text: list[str] | None = option(
        None, metavar="WORDS", help="Query by words; may be repeated.", show_default=False
    )
    text_key: str | None = option(
        None,
        metavar="KEY",
        help="Query by the text under KEY.",
        show_default=False,
        changes_results="if set",
    )
    score: Literal["cosine", "csls"] = option(
        "cosine",
        metavar="cosine|csls",
        help="csls: a row near to everything counts for less.",
        changes_results="if set",
    )
    method: Literal["exact", "ivf"] = option(
        "exact",
        metavar="exact|ivf",
        help="ivf: faster over many rows; recall is measured.",
        changes_results="if set",
    )
