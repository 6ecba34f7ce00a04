"""Optional by-products of a command: its contact sheet and its page."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.file_kind import is_stream, link_target
from megastyle_cli.core.record import Record


def check_views(sheet: Path | None, page: Path | None) -> None:
    """Raises MegastyleError now if a by-product could not be written after the work."""
    for path, suffixes in ((sheet, (".png", ".jpg", ".webp")), (page, (".html", ".htm"))):
        if path is None or is_stream(path):
            continue
        if path.suffix not in suffixes:
            raise MegastyleError(f"{path} does not end in {suffixes[0]}", hint="rename it")
        folder = link_target(path).parent
        if folder.is_dir() and not os.access(folder, os.W_OK):
            raise MegastyleError(f"{folder} is not writable", hint="choose another folder")


def write_views(
    records: Sequence[Record] | None,
    sheet: Path | None,
    page: Path | None,
    *,
    title: str,
    gallery: Iterable[Record] = (),
    mix: Sequence[tuple[str, float]] = (),
    as_browser: bool = False,
) -> None:
    """Writes the requested by-products; none if the run was stopped and `records` is None.

    `gallery` is what `neighbors` of the records were found in. `mix` has the picture and the share
    of each style, if all records are in a mix of them. The page is a style browser or, if not
    `as_browser`, a gallery.
    """
    if records is None or not (sheet or page):
        return
    from megastyle_cli.report.rows import rows_of, with_mix

    rows = rows_of(records, gallery={record["id"]: record for record in gallery})
    if len(mix) > 1:
        rows = [with_mix(row, mix) for row in rows]
    if sheet is not None:
        from megastyle_cli.report.contact_sheet import write_sheet

        if os.path.abspath(sheet) in {os.path.abspath(str(r.get("file_name"))) for r in records}:  # noqa: PTH100
            raise MegastyleError(
                f"{sheet} is an image of the output", hint="give the sheet another name"
            )
        write_sheet(rows, sheet, title=title)
    if page is not None and as_browser:
        from megastyle_cli.report.style_browser import write_browser

        write_browser(records, page, title=title)
    elif page is not None:
        from megastyle_cli.report.gallery import write_page

        write_page(rows, page, title=title)
