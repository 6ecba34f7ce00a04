"""Captions by measurement: style attributes from pixels, content from an ImageNet classifier.

Style needs no weights; nothing is stated that was not measured. Source: ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

from PIL.Image import Image

from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.core.choices import CaptionKind
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.style import StyleAttributes
from megastyle_cli.models.builtin.image_kind import (
    describe_brushwork,
    describe_identity,
    describe_medium,
    describe_outline,
    estimate_kind,
)
from megastyle_cli.models.builtin.lighting import describe_light
from megastyle_cli.models.builtin.palette import describe_tone, name_palette, swatches
from megastyle_cli.models.builtin.texture import (
    describe_edges,
    describe_pattern,
    describe_surface,
    measure_roughness,
    measure_strokes,
)
from megastyle_cli.models.builtin.working_image import make_working_image
from megastyle_cli.models.protocols import Description

if TYPE_CHECKING:
    from megastyle_cli.models.builtin.imagenet import ImagenetClassifier

Recognize = Callable[[Image], tuple[str, float]]


class PixelCaptioner:
    """Style by measurement; content if a network gives it a probability of `min_confidence`."""

    name = "builtin"

    def __init__(self, min_confidence: float = 0.5) -> None:
        """Raises MegastyleError unless `min_confidence` is in [0, 1]."""
        if not 0 <= min_confidence <= 1:
            raise MegastyleError(
                f"min_confidence is {min_confidence}, which is not a probability",
                hint="give a number from 0 (always name a content) to 1 (never)",
            )
        self.min_confidence = min_confidence

    def describe(self, pictures: Sequence[Image], kind: CaptionKind) -> list[Description]:
        """One Description per image, in order, each independent of the others."""
        recognize = None if kind == "style" else _recognizer().recognize
        return parallel_map(
            partial(self._describe_one, kind, recognize), pictures, limits_blas=True
        )

    def _describe_one(
        self, kind: CaptionKind, recognize: Recognize | None, picture: Image
    ) -> Description:
        style, content = None, None
        confidence: dict[str, float] = {}
        if kind != "content":
            style, confidence["medium"] = measure_style(picture)
        if recognize is not None:
            name, probability = recognize(picture)
            confidence["content"] = round(probability, 4)
            content = name if probability >= self.min_confidence else None
        return Description(style=style, content=content, confidence=confidence)


def measure_style(picture: Image) -> tuple[StyleAttributes, float]:
    """The measured style attributes, and the confidence in [0, 1] of the likeliest medium."""
    image = make_working_image(picture)
    roughness = measure_roughness(image)
    estimate = estimate_kind(image)
    tone = describe_tone(image)
    colors, accents = name_palette(swatches(image))
    attributes = StyleAttributes(
        identity=describe_identity(tone, estimate),
        colors=colors,
        accents=accents,
        light=describe_light(image),
        pattern=describe_pattern(image),
        surface=describe_surface(roughness),
        edges=describe_edges(image),
        outline=describe_outline(estimate),
        brushwork=describe_brushwork(estimate, measure_strokes(image), roughness),
        medium=describe_medium(tone, estimate, roughness),
    )
    return attributes, round(estimate.confidence, 4)


@cache
def _recognizer() -> ImagenetClassifier:
    """The network for the content; its packages are imported only here."""
    from megastyle_cli.models.builtin.imagenet import ImagenetClassifier

    return ImagenetClassifier()
