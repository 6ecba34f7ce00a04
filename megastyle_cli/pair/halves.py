"""What a pair takes from its style and from its content, in the order of its keys."""

from dataclasses import dataclass

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import ERROR, PROVENANCE, Record, is_blank
from megastyle_cli.core.style import ATTRIBUTE_KEYS

# Keys that describe the pair itself, or images that are not the parent's own.
_OWN = {"id", "file_name", "target_file_name", "neighbors", PROVENANCE, ERROR}
_OF_STYLE = {"style", "style_id", "style_file_name", *ATTRIBUTE_KEYS}
_OF_CONTENT = {"content", "content_id", "content_file_name"}
KNOWN = _OWN | _OF_STYLE | _OF_CONTENT
STYLE_KEYS = ("style", "file_name", "style_file_name")  # a style has a text under one of them
CONTENT_KEYS = ("content", "file_name", "content_file_name")
PREFIX = "content_"  # of the unknown keys of a content


@dataclass(frozen=True, kw_only=True)
class Half:
    """The part of a pair that comes from one parent.

    A pair has its ids, then the `text` of style and content, then `more` and the `unknown` keys of
    both. `provenance` is that of the parent under its name.
    """

    id: str
    text: Record
    more: Record  # attributes, and the name of the image
    unknown: Record
    provenance: Record


def style_half(style: Record) -> Half:
    """The style text, attributes, image and unknown keys of a style record."""
    attributes = {key: style[key] for key in ATTRIBUTE_KEYS if style.get(key) is not None}
    return Half(
        id=style["id"],
        text=_under("style", _text(style, "style")),
        more=attributes | _under("style_file_name", _image(style, "style_file_name")),
        unknown={key: value for key, value in style.items() if key not in KNOWN},
        provenance=_under("style", style.get(PROVENANCE)),
    )


def content_half(content: Record) -> Half:
    """The content text and image of a content record, and its unknown keys with a prefix."""
    unknown = {f"{PREFIX}{key}": value for key, value in content.items() if key not in KNOWN}
    return Half(
        id=content["id"],
        text=_under("content", _text(content, "content")),
        more=_under("content_file_name", _image(content, "content_file_name")),
        unknown=unknown,
        provenance=_under("content", content.get(PROVENANCE)),
    )


def check_style(record: Record) -> None:
    """Raises BadRecord("missing_key") unless the record has a style text or a style image."""
    if not (_text(record, "style") or _image(record, "style_file_name")):
        raise BadRecord("missing_key", "the style record has neither style nor file_name", "style")


def check_content(record: Record) -> None:
    """Raises BadRecord("missing_key") unless the record has a content text or a content image."""
    if not (_text(record, "content") or _image(record, "content_file_name")):
        raise BadRecord("missing_key", "the content record has neither content nor file_name")


def _under(key: str, value: object) -> Record:
    return {key: value} if value else {}


def _text(record: Record, key: str) -> str | None:
    """The text under `key`; None if it is missing, blank or not a string."""
    text = record.get(key)
    return text if isinstance(text, str) and not is_blank(text) else None


def _image(record: Record, key: str) -> str | None:
    """The file name of the record's own image, else the one under `key`."""
    return _text(record, "file_name") or _text(record, key)
