"""The kind of drawn images, the model between painting and photograph, and phrases by kind."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from megastyle_cli.core.style import COLORS
from megastyle_cli.models.builtin.image_kind import (
    KindEstimate,
    describe_brushwork,
    describe_identity,
    describe_medium,
    describe_outline,
    estimate_kind,
    painted_probability,
)
from megastyle_cli.models.builtin.texture import Outline, Roughness, Strokes
from megastyle_cli.models.builtin.working_image import make_working_image
from tests.models.builtin.drawings import cartoon, from_values, noisy

ROUGH = Roughness(flat=0.0, rough=0.9, fineness=0.8)
PAINTED = KindEstimate(kind="painted", confidence=0.9, painted=0.9)


def outline(width: float) -> Outline:
    black = np.array(COLORS["black"], np.float32)
    return Outline(coverage=1.0, tidiness=1.0, area=0.1, width=width, lab=black)


def strokes(angle: float, agreement: float = 1.0, flow: float = 0.0) -> Strokes:
    return Strokes(share=0.9, coherence=0.9, agreement=agreement, flow=flow, angle=angle)


def silhouette() -> Image.Image:
    picture = Image.new("RGB", (200, 200), "white")
    ImageDraw.Draw(picture).ellipse((40, 40, 160, 160), fill="navy")
    return picture


def line_drawing() -> Image.Image:
    picture = Image.new("RGB", (200, 200), "white")
    ImageDraw.Draw(picture).ellipse((40, 40, 160, 160), outline="black", width=4)
    return picture


def flat_graphic() -> Image.Image:
    picture = silhouette()
    ImageDraw.Draw(picture).rectangle((80, 80, 120, 120), fill="orange")
    ImageDraw.Draw(picture).rectangle((20, 150, 180, 190), fill="green")
    return picture


@pytest.mark.parametrize(
    ("picture", "kind"),
    [
        (Image.new("RGB", (64, 64), "teal"), "blank"),
        (silhouette(), "silhouette"),
        (line_drawing(), "line"),
        (flat_graphic(), "flat"),
        (cartoon(), "flat"),
    ],
)
def test_graphics_are_told_apart(picture: Image.Image, kind: str) -> None:
    assert estimate_kind(make_working_image(picture)).kind == kind


def test_a_cartoon_is_carried_by_its_outline_and_a_silhouette_is_not() -> None:
    assert estimate_kind(make_working_image(cartoon())).outline is not None
    assert estimate_kind(make_working_image(silhouette())).outline is None


@pytest.mark.parametrize("seed", range(3))
def test_a_continuous_tone_is_named_only_when_it_is_certain(seed: int) -> None:
    found = estimate_kind(make_working_image(from_values(noisy(seed=seed))))

    assert found.kind in ("painted", "photograph", "unclear")
    assert found.confidence == max(found.painted, 1 - found.painted)
    assert (found.kind == "unclear") == (found.confidence < 0.8)


def test_the_probability_of_a_painting_rises_with_colors_and_yellowness() -> None:
    base = painted_probability((0, 0, 0, 0, 0))

    assert painted_probability((1, 0, 0, 0, 0)) > base
    assert painted_probability((0, 0, 0, 1, 0)) > base
    assert painted_probability((0, 1, 0, 0, 0)) < base
    assert 0 < base < 1


@pytest.mark.parametrize(
    ("width", "weight"),
    [(0.01, "thin"), (0.02, "slim"), (0.04, "medium-weight"), (0.05, "bold"), (0.2, "heavy")],
)
def test_a_line_has_its_weight_and_color(width: float, weight: str) -> None:
    estimate = KindEstimate(kind="line", confidence=0.9, outline=outline(width))

    assert describe_outline(estimate) == f"{weight} black outlines"
    assert describe_medium("muted", estimate, ROUGH) == f"{weight} line drawing"


@pytest.mark.parametrize(
    ("angle", "word"),
    [
        (0.0, "horizontal"),
        (0.8, "diagonal"),
        (1.6, "vertical"),
        (2.4, "diagonal"),
        (3.1, "horizontal"),
    ],
)
def test_strokes_that_agree_have_a_direction(angle: float, word: str) -> None:
    assert describe_brushwork(PAINTED, strokes(angle), ROUGH) == f"medium-scale {word} strokes"


def test_strokes_that_do_not_agree_curve_or_go_everywhere() -> None:
    curving = describe_brushwork(PAINTED, strokes(0, agreement=0.1, flow=0.9), ROUGH)
    scattered = describe_brushwork(PAINTED, strokes(0, agreement=0.1, flow=0.1), ROUGH)

    assert curving == "medium-scale curving strokes"
    assert scattered == "medium-scale multidirectional strokes"


def test_only_paintings_have_brushwork() -> None:
    photograph = KindEstimate(kind="photograph", confidence=0.9, painted=0.1)

    assert describe_brushwork(photograph, strokes(0), ROUGH) is None


def test_a_medium_below_the_confidence_is_not_named() -> None:
    assert describe_medium("vivid", KindEstimate(kind="flat", confidence=0.79), ROUGH) is None
    assert describe_medium("vivid", KindEstimate(kind="flat", confidence=0.8), ROUGH)


def test_an_outlined_painting_is_a_print() -> None:
    printed = KindEstimate(kind="painted", confidence=0.9, outline=outline(0.01), painted=0.9)

    assert describe_identity("muted", printed) == "muted outlined print"
    assert describe_medium("muted", printed, ROUGH) == "outlined color print"
