"""The by-products of a command: its contact sheet and its page, if they were asked for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from megastyle_cli.record import Record


def write_views(
    records: Sequence[Record] | None,
    sheet: Path | None,
    page: Path | None,
    *,
    title: str,
    summary: Mapping[str, Any] | None = None,
) -> None:
    """Writes what was asked for; nothing if the run was stopped and `records` is None."""
    if records is None:
        return
    if sheet is not None:
        from megastyle_cli.view.sheet import write_sheet

        write_sheet(records, sheet, title=title)
    if page is not None:
        from megastyle_cli.view.page import write_page

        write_page(records, page, title=title, summary=summary or {})
