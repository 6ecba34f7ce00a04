"""Style attributes, the sentence they make, and the attributes a sentence holds."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class StyleAttributes:
    """What can be seen of a picture's style; every field is absent (None) if it was not seen."""

    identity: str | None = None
    colors: str | None = None
    accents: str | None = None
    light: str | None = None
    pattern: str | None = None
    surface: str | None = None
    edges: str | None = None
    outline: str | None = None
    brushwork: str | None = None
    medium: str | None = None


def attribute_keys(attributes: StyleAttributes) -> dict[str, str]:
    """The attributes that were seen, as record keys: `style_identity`, `style_colors`, ..."""
    named = {f"style_{f.name}": getattr(attributes, f.name) for f in fields(attributes)}
    return {key: value for key, value in named.items() if value is not None}
