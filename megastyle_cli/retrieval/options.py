"""The options of `retrieve`: the index, the queries, and the search."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class RetrieveOptions:
    """The index, the queries and the search."""

    HEADING: ClassVar[str] = "Method"

    index: list[str] | None = option(
        None,
        metavar="PATH",
        heading="Index",
        help="What to search: images, folders or JSON lines (repeatable), or one saved index.",
        show_default=False,
        is_common=True,
        is_required=True,
        changes_results="derived",
        file="input",
    )
    add: list[str] | None = option(
        None,
        metavar="PATH",
        heading="Index",
        help="Add these images to the saved index, creating it if needed; repeatable.",
        is_common=True,
        show_default=False,
        file="input",
    )
    prune: bool = option(
        False,
        "--prune",
        heading="Index",
        help="Remove images that no longer exist from the saved index.",
    )
    top: int = option(
        10,
        "--top",
        metavar="N",
        min=1,
        help="Number of results per query.",
        is_common=True,
        changes_results="yes",
    )
    keep_self: bool = option(
        False,
        "--keep-self",
        help="Let a query find itself in the index (default: skip it).",
        changes_results="yes",
    )
    prototype: bool = option(
        False,
        "--prototype",
        help="Search once, by the mean of all queries.",
        is_common=True,
        changes_results="if set",
    )
    prototype_by: str | None = option(
        None,
        metavar="KEY",
        help="Search once per value of KEY, by the mean of its queries.",
        show_default=False,
        changes_results="if set",
    )
    text: list[str] | None = option(
        None,
        "--text",
        metavar="TEXT",
        help="Search by this text (needs a --model with a text tower); repeatable.",
        show_default=False,
        is_common=True,
    )
    text_key: str | None = option(
        None,
        metavar="KEY",
        help="Search by each record's text under KEY instead of its image.",
        show_default=False,
        changes_results="if set",
    )
    score: Literal["cosine", "csls"] = option(
        "cosine",
        metavar="cosine|csls",
        help="Similarity; csls ranks images that are close to everything lower.",
        changes_results="if set",
    )
    method: Literal["exact", "ivf"] = option(
        "exact",
        metavar="exact|ivf",
        help="Search algorithm; ivf is faster on large indexes, its recall is measured.",
        changes_results="if set",
    )
