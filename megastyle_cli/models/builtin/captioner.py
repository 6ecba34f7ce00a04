"""Describes pictures by measuring them: style attributes from pixels, content from a recogniser.

Weight-free for the style; nothing is claimed that was not measured. Source: ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

from PIL.Image import Image

from megastyle_cli.core.choices import CaptionKind
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.style import StyleAttributes
from megastyle_cli.models.builtin.canvas import working_copy
from megastyle_cli.models.builtin.light import describe_light
from megastyle_cli.models.builtin.lines import describe_edges, measure_strokes
from megastyle_cli.models.builtin.looks import judge
from megastyle_cli.models.builtin.palette import name_palette, swatches
from megastyle_cli.models.builtin.texture import (
    describe_pattern,
    describe_surface,
    measure_roughness,
)
from megastyle_cli.models.builtin.threads import over_cores
from megastyle_cli.models.builtin.words import (
    describe_brushwork,
    describe_identity,
    describe_medium,
    describe_outline,
    describe_tone,
)
from megastyle_cli.models.protocols import Description

if TYPE_CHECKING:
    from megastyle_cli.models.builtin.imagenet import ImagenetRecogniser

Recognise = Callable[[Image], tuple[str, float]]


class PixelCaptioner:
    """Style by measurement; content only if a network is at least `min_confidence` sure of it."""

    name = "builtin"

    def __init__(self, min_confidence: float = 0.5) -> None:
        """Raises MegastyleError unless `min_confidence` is in [0, 1]."""
        if not 0 <= min_confidence <= 1:
            raise MegastyleError(
                f"min_confidence is {min_confidence}, which is not a probability",
                hint="give a number from 0 (always say a name) to 1 (never guess)",
            )
        self.min_confidence = min_confidence

    def describe(self, pictures: Sequence[Image], kind: CaptionKind) -> list[Description]:
        """One Description a picture, in order, each independent of its neighbours.

        Content needs two packages; if one is missing this raises MegastyleError.
        """
        recognise = None if kind == "style" else _recogniser().recognise_one
        return over_cores(partial(self._describe_one, kind, recognise), pictures)

    def _describe_one(
        self, kind: CaptionKind, recognise: Recognise | None, picture: Image
    ) -> Description:
        style, content = None, None
        confidence: dict[str, float] = {}
        if kind != "content":
            style, confidence["medium"] = measure_style(picture)
        if recognise is not None:
            name, probability = recognise(picture)
            confidence["content"] = round(probability, 4)
            content = name if probability >= self.min_confidence else None
        return Description(style=style, content=content, confidence=confidence)


def measure_style(picture: Image) -> tuple[StyleAttributes, float]:
    """What can be seen of a picture's style, and the confidence in [0, 1] of its best medium."""
    canvas = working_copy(picture)
    roughness = measure_roughness(canvas)
    impression = judge(canvas)
    tone = describe_tone(canvas)
    colors, accents = name_palette(swatches(canvas))
    seen = StyleAttributes(
        identity=describe_identity(tone, impression),
        colors=colors,
        accents=accents,
        light=describe_light(canvas),
        pattern=describe_pattern(canvas),
        surface=describe_surface(roughness),
        edges=describe_edges(canvas),
        outline=describe_outline(impression),
        brushwork=describe_brushwork(impression, measure_strokes(canvas), roughness),
        medium=describe_medium(tone, impression, roughness),
    )
    return seen, round(impression.confidence, 4)


@cache
def _recogniser() -> ImagenetRecogniser:
    """The network behind the content; torch is imported here, and only here."""
    try:
        from megastyle_cli.models.builtin.imagenet import ImagenetRecogniser
    except ModuleNotFoundError as missing:
        raise MegastyleError(
            f"to name contents, the package {missing.name!r} is needed, which is not installed",
            hint="pip install 'megastyle[builtin]', or ask for the style only",
        ) from missing
    return ImagenetRecogniser()
