"""The options of `eval` for the measures that papers report."""

from dataclasses import dataclass
from typing import ClassVar

from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class ProtocolOptions:
    """Which published measures are computed."""

    HEADING: ClassVar[str] = "Method"

    protocol: list[str] | None = option(
        None,
        metavar="NAME[=MODEL]",
        help="Measure as papers do, with their model, preprocessing and scale; repeatable: csd,"
        " megastyle, clip-image, clip-text, leakage, vlm-leak, content-distance, oneig, gap.",
        show_default=False,
        changes_results="derived",
    )
