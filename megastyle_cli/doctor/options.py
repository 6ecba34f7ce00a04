"""Options of `doctor`."""

from dataclasses import dataclass
from typing import ClassVar

from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """What is checked, and how it is shown."""

    HEADING: ClassVar[str] = "Running"

    command: list[str] | None = option(
        None,
        metavar="[-- COMMAND ...]",
        is_argument=True,
        is_common=True,
        show_default=False,
        help="A whole command line to check instead, without starting it.",
    )
    prepare: bool = option(
        False,
        "--prepare",
        is_common=True,
        help="Compile ahead what dedup and pair compile when first used.",
    )
    as_json: bool = option(
        False, "--json", is_common=True, help="Print the report as one JSON object."
    )
