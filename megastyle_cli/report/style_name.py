"""The display name of a style: one rule wherever users see it."""

import re
from collections.abc import Iterator
from pathlib import PurePath

from megastyle_cli.core.record import Record

MAX_WORDS = 5
# A hash, a pair of hashes or a number: a name for programs.
_ID = re.compile(r"s?[0-9a-f]{8,}(_.*)?|[\W\d_]*")


def style_name(record: Record, label: str = "") -> str:
    """The first of these that people can read, else the first there is: the style's `label`, the
    stem of its picture, its `style_identity`, the first words of its prompt.

    The picture is `style_file_name`, else the record's own, unless that is only one of a style.
    """
    names = [name for name in (label, *_names(record)) if name]
    return next(filter(is_readable, names), names[0] if names else "untitled")


def is_readable(name: str) -> bool:
    """Whether a name is neither a hash nor a number."""
    return not _ID.fullmatch(name)


def picture_stem(picture: str) -> str:
    """The name of a picture's file, or of its member of an archive, without folders and suffix."""
    return PurePath(picture.rpartition("#")[2]).stem


def _names(record: Record) -> Iterator[str]:
    yield picture_stem(_text(record, "style_file_name"))
    if "style_id" not in record:
        yield picture_stem(_text(record, "file_name"))
    yield _text(record, "style_identity")
    words = re.sub(r"^.*?in the style of ", "", _text(record, "style"), flags=re.IGNORECASE)
    yield " ".join(words.split(",")[0].split()[:MAX_WORDS])
    yield _text(record, "style_id")
    yield _text(record, "id")


def _text(record: Record, key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""
