"""The attributes in a v2 style sentence: the inverse of its template."""

import re

from megastyle_cli.core.style import ATTRIBUTES, StyleAttributes


def parse_style(sentence: str) -> StyleAttributes:
    """The attributes of a v2 sentence whose values hold no comma, full stop or template word."""
    found = re.fullmatch(r"(?:With ([^.]+)\.)? ?(?:In (the|a) style of (.+)\.)?", sentence)
    assert found
    outline, article, listed = found.groups()
    values = {"outline": outline}
    parts = listed.split(", ") if listed else []
    if article == "the":
        values["identity"] = parts.pop(0)
    for part in parts:
        values.update(parse_slot(part))
    return StyleAttributes(**values)


def parse_slot(slot: str) -> dict[str, str]:
    if slot.endswith(" accents"):
        colors, _, accents = slot.removesuffix(" accents").rpartition(" with ")
        return {"colors": colors, "accents": accents} if colors else {"accents": accents}
    if slot.endswith(" palette"):
        return {"colors": slot.removesuffix(" palette")}
    for name, each in ATTRIBUTES.items():
        if each.suffix and slot.endswith(f" {each.suffix}"):
            return {name: slot.removesuffix(f" {each.suffix}")}
    if slot.startswith("in "):
        return {"medium": slot.removeprefix("in ")}
    return {"brushwork": slot}
