"""Results as text for a person at a terminal; pipes and files get JSON lines."""

import shutil
import textwrap

from megastyle_cli.core.printable import printable
from megastyle_cli.core.record import Record

MIN_COLUMNS = 40


def heading(record: Record, *keys: str) -> str:
    """What a person knows a record by: its file name, the first of `keys` that it has, its id."""
    found = (record.get(key) for key in ("file_name", *keys, "id"))
    return printable(str(next((value for value in found if value is not None), "-"))) + "\n"


def labelled(label: str, text: str, *, width: int) -> str:
    """`text` after its label, indented under a heading and wrapped to the terminal."""
    lines = textwrap.fill(
        printable(text, keep="\n\t"),
        max(MIN_COLUMNS, shutil.get_terminal_size().columns - 1),
        initial_indent=f"  {label:{width}}  ",
        subsequent_indent=" " * (width + 4),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines + "\n"
