"""Options of `status`."""

from dataclasses import dataclass
from typing import ClassVar

from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class StatusOptions:
    """Which outputs are looked at, and how they are shown."""

    HEADING: ClassVar[str] = "Running"

    outputs: list[str] | None = option(
        None,
        metavar="PATH...",
        is_argument=True,
        is_common=True,
        show_default=False,
        help="Folders of parts, image folders, files of records, or folders of training runs.",
    )
    as_json: bool = option(
        False, "--json", is_common=True, help="Print one JSON object per part, also on a terminal."
    )
    array: bool = option(
        False,
        "--array",
        is_common=True,
        help="Print only the tasks to submit again, as sbatch --array takes them.",
    )
