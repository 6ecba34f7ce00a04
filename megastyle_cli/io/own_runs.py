"""run.json beside an output: which runs of these commands wrote the output."""

from pathlib import Path
from typing import Any

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.json_file import read_object
from megastyle_cli.core.record import PROVENANCE, Record, Run

EARLIER = "earlier_runs"  # keys of runs that --force continued with other options
OwnRuns = frozenset[tuple[str, str]]  # command and run key


def read_run_file(path: Path) -> dict[str, Any]:
    """The content of a run.json. Raises MegastyleError unless its key is that of its options."""
    content = read_object(path, run=str, command=str, options=dict)
    try:
        key = Run(content["command"], content["options"]).key
    except ValueError:  # NaN, which no run of ours has
        key = ""
    if content["run"] != key:
        raise MegastyleError(
            f"{path} is damaged: its options do not match its run key",
            hint="restore it from a backup, or add --overwrite to start again",
        )
    return content


def runs_beside(listing: Path) -> OwnRuns:
    """The runs that a run.json beside `listing` says wrote it; none if that is not one of ours."""
    for path in (
        listing.with_name("run.json"),
        listing.with_name(f"{listing.name.partition('.')[0]}.run.json"),
    ):
        try:
            content = read_run_file(path) if path.is_file() else {}
        except (MegastyleError, OSError):
            continue
        if content:
            earlier = content.get(EARLIER)
            keys = [content["run"], *(earlier if isinstance(earlier, list) else ())]
            return frozenset((content["command"], str(key)) for key in keys)
    return frozenset()


def is_own(record: Record, runs: OwnRuns) -> bool:
    """Whether the provenance of a record names one of the runs."""
    provenance = record.get(PROVENANCE)
    if not isinstance(provenance, dict):
        return False
    named = {command: facts for command, facts in provenance.items() if isinstance(facts, dict)}
    return any(str(named.get(command, {}).get("run")) == key for command, key in runs)
