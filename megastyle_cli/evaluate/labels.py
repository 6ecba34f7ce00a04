"""What counts as a label of a style or a content."""

from megastyle_cli.core.record import Record, is_blank


def label_of(record: Record, key: str) -> str | None:
    """The label under `key`; None if it is absent, null or blank.

    Tables write one label in several types: 1, "1", 1.0 and true are the same.
    """
    value = record.get(key)
    if value is None or (isinstance(value, str) and is_blank(value)) or value != value:
        return None
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return str(value)
