"""Phrases for measured values: limits, hues, line weights and directions."""

import numpy as np
import pytest
from PIL import Image

from megastyle_cli.core.style import COLORS
from megastyle_cli.models.builtin.edges import Outline, Strokes
from megastyle_cli.models.builtin.image_kind import KindEstimate
from megastyle_cli.models.builtin.phrases import (
    describe_brushwork,
    describe_identity,
    describe_medium,
    describe_outline,
    describe_tone,
)
from megastyle_cli.models.builtin.texture import Roughness
from megastyle_cli.models.builtin.working_image import make_working_image
from tests.models.builtin.drawings import describe

ROUGH = Roughness(flat=0.0, rough=0.9, fineness=0.8)
PAINTED = KindEstimate(kind="painted", confidence=0.9, painted=0.9)


def outline(width: float) -> Outline:
    black = np.array(COLORS["black"], np.float32)
    return Outline(coverage=1.0, tidiness=1.0, area=0.1, width=width, lab=black)


def strokes(angle: float, agreement: float = 1.0, flow: float = 0.0) -> Strokes:
    return Strokes(share=0.9, coherence=0.9, agreement=agreement, flow=flow, angle=angle)


@pytest.mark.parametrize(
    ("color", "tone"),
    [
        ((128, 128, 128), "monochrome"),
        ((30, 10, 40), "dark"),
        ((150, 60, 60), "red-toned"),
        ((90, 60, 30), "dark"),
        ((130, 95, 50), "brown-toned"),
        ((60, 110, 180), "blue-toned"),
    ],
)
def test_the_tone_of_one_color(color: tuple[int, int, int], tone: str) -> None:
    assert describe_tone(make_working_image(Image.new("RGB", (40, 40), color))) == tone


def test_a_gray_image_is_monochrome() -> None:
    gray = Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64))

    identity = describe(gray).identity

    assert identity is not None and identity.startswith("monochrome")


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
