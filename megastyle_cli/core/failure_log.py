"""Failures as users read them: the first of each kind, file name first, and a count of the rest."""

import logging
from collections import Counter
from pathlib import Path

from megastyle_cli.core.record import PICTURE_KEYS, Failure

SHOWN = 5  # failures of a kind that are printed one by one
log = logging.getLogger(__name__)


class FailureLog:
    """Logs the first failures of each kind one by one; `close` counts the others."""

    def __init__(self, command: str) -> None:
        self.command = command
        self._counts: Counter[str] = Counter()

    def add(self, failure: Failure) -> None:
        """Logs a failure if it is one of the first of its kind; the others with -v only."""
        self._counts[failure.kind] += 1
        level = logging.WARNING if self._counts[failure.kind] <= SHOWN else logging.INFO
        log.log(level, "%s", sentence(failure))

    def close(self, path: Path | None) -> None:
        """Counts the failures that were not shown; all of them are in `path`, if it is given."""
        more = {kind: count - SHOWN for kind, count in self._counts.items() if count > SHOWN}
        self._counts.clear()
        if not more:
            return
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(more.items()))
        where = f"all are in {path}" if path else "--errors FILE keeps them"
        total = f"{sum(more.values()):,}"
        log.warning("%s: %s more failed (%s): %s", self.command, total, kinds, where)


def sentence(failure: Failure) -> str:
    """The message of a failure with the file name first, in place of the record's id."""
    record, message = failure.record, failure.message
    name, record_id = record.get("file_name"), record.get("id")
    names = [*(record.get(key) for key in PICTURE_KEYS), f"record {record_id}"]
    if isinstance(name, str) and name not in message:
        by_id = f"record {record_id} "
        return f"{name}: {message.removeprefix(by_id)}"
    if record_id is None or any(isinstance(one, str) and one in message for one in names):
        return message
    return f"record {record_id}: {message}"
