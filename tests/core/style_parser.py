"""The attributes in a v2 style sentence: the inverse of its template."""

import re

from megastyle_cli.core.style import ATTRIBUTES, StyleAttributes

OPENING = ("outline", "identity")  # the sentence begins with these


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
        if name not in OPENING and each.prefix and slot.startswith(each.prefix):
            return {name: slot.removeprefix(each.prefix)}
    return {"brushwork": slot}
