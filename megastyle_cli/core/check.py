"""One check made before any work: whether something is available, and what to do if not."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.printable import printable


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of a check; `fix` says what to do if it is not `ok`."""

    topic: str
    name: str
    text: str
    ok: bool = True
    is_needed: bool = True  # without it something that was asked for does not work
    fix: str = ""

    @property
    def status(self) -> str:
        """`ok`, `missing`, or `-` for something missing that is not needed."""
        return "ok" if self.ok else "missing" if self.is_needed else "-"

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON, without an empty `fix`."""
        values = {**asdict(self), "status": self.status}
        return {key: value for key, value in values.items() if value != ""}


def failed(topic: str, name: str, error: MegastyleError, *, is_needed: bool = True) -> Check:
    """A failed check, with the message and the hint of an error."""
    return Check(
        topic=topic, name=name, text=error.message, ok=False, is_needed=is_needed, fix=error.hint
    )


def is_complete(checks: Iterable[Check]) -> bool:
    """Whether everything needed is available."""
    return all(check.ok or not check.is_needed for check in checks)


def as_table(checks: Sequence[Check]) -> str:
    """The checks as lines for people, under their topics."""
    width = max(len(check.name) for check in checks)
    lines = []
    for topic, group in groupby(checks, lambda check: check.topic):
        lines.append(topic)
        for check in group:
            fix = f": {check.fix}" if check.fix else ""
            lines.append(f"  {check.status:<8} {check.name:<{width}}  {check.text}{fix}")
    return "".join(f"{printable(line)}\n" for line in lines)
