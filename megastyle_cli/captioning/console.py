"""A caption as text for a terminal: the file name, then style and content."""

from megastyle_cli.core.record import Record
from megastyle_cli.runner.console import heading, labelled

SHOWN = ("style", "content")


def describe_caption(record: Record) -> str:
    """Some lines about one captioned record."""
    texts = {key: record[key] for key in SHOWN if isinstance(record.get(key), str)}
    width = max(map(len, SHOWN))
    return heading(record) + "".join(labelled(key, texts[key], width=width) for key in texts)
