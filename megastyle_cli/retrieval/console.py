"""Search results as text for a terminal: the query, then the score and name of each neighbor."""

from megastyle_cli.core.printable import printable
from megastyle_cli.core.record import Record
from megastyle_cli.runner.console import heading


def describe_neighbors(record: Record, text_key: str = "text") -> str:
    """Some lines about one query; `text_key` holds its text if it has no picture."""
    lines = [
        f"  {near['score']:.2f}  {printable(str(near.get('file_name') or near['id']))}\n"
        for near in record["neighbors"]
    ]
    return heading(record, text_key) + "".join(lines or ["  nothing found\n"])
