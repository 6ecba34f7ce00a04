"""Measured captions: word limits, sentences that can be read back, independence of the batch."""

import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image, ImageDraw

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.style import ATTRIBUTES, style_sentence
from megastyle_cli.models.builtin.captioner import PixelCaptioner
from tests.core.style_parser import parse_style
from tests.models.builtin.drawings import (
    cartoon,
    checkerboard,
    describe,
    from_values,
    lit_from_the_left,
    noisy,
    stripes,
    strokes,
)

PICTURES = {
    "one pixel": Image.new("RGB", (1, 1), (10, 200, 30)),
    "white": Image.new("RGB", (64, 64), (255, 255, 255)),
    "black": Image.new("RGB", (300, 20), (0, 0, 0)),
    "gray mode": Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)),
    "thin": from_values(noisy(2000, 1)),
    "tall": from_values(noisy(1, 2000)),
    "odd": from_values(noisy(37, 23)),
    "cartoon": cartoon(),
    "strokes": strokes(True),
    "checkerboard": checkerboard(),
    "stripes": stripes(),
    "lit": lit_from_the_left(),
    "noise": from_values(noisy()),
    "red": Image.new("RGB", (80, 80), (224, 20, 28)),
}


def test_a_drawing_is_described_alike_at_every_size() -> None:
    large = Image.new("RGB", (1024, 1024), "white")
    draw = ImageDraw.Draw(large)
    draw.ellipse((200, 200, 800, 800), outline=(18, 32, 79), width=60)
    draw.line((100, 900, 900, 900), fill=(18, 32, 79), width=60)

    seen = [describe(large.resize((side, side), Image.Resampling.BOX)) for side in (128, 256, 1024)]

    assert seen[0].outline == seen[1].outline == seen[2].outline == "bold navy outlines"
    assert seen[0].medium == seen[1].medium == seen[2].medium == "bold line drawing"


@pytest.mark.parametrize("name", PICTURES)
def test_every_attribute_keeps_its_word_limit(name: str) -> None:
    seen = describe(PICTURES[name])

    for field in fields(seen):
        value = getattr(seen, field.name)
        if value is not None:
            assert value and len(value.split()) <= ATTRIBUTES[field.name].max_words
            assert value.isascii() and "," not in value and "." not in value


@pytest.mark.parametrize("name", PICTURES)
def test_every_caption_can_be_read_back(name: str) -> None:
    seen = describe(PICTURES[name])

    assert parse_style(style_sentence(seen, "v2")) == seen
    assert len(style_sentence(seen, "v1").split()) <= 32


def test_different_images_get_different_sentences() -> None:
    names = ["cartoon", "strokes", "checkerboard", "stripes", "lit", "noise", "red", "black"]

    sentences = {style_sentence(describe(PICTURES[name])) for name in names}

    assert len(sentences) == len(names)


def test_a_description_does_not_depend_on_its_batch() -> None:
    pictures = list(PICTURES.values())
    captioner = PixelCaptioner()

    together = captioner.describe(pictures, "style")

    assert together == [captioner.describe([picture], "style")[0] for picture in pictures]
    assert together[::-1] == captioner.describe(pictures[::-1], "style")


def test_only_the_requested_kind_is_described() -> None:
    style = PixelCaptioner().describe([cartoon()], "style")[0]
    both = PixelCaptioner(min_confidence=0).describe([cartoon()], "both")[0]
    content = PixelCaptioner(min_confidence=1).describe([cartoon()], "content")[0]

    assert style.content is None and set(style.confidence) == {"medium"}
    assert both.content and both.style == style.style
    assert set(both.confidence) == {"medium", "content"}
    assert content.style is None and content.content is None
    assert 0 < content.confidence["content"] < 1


def test_an_uncertain_medium_is_not_named() -> None:
    for picture in PICTURES.values():
        description = PixelCaptioner().describe([picture], "style")[0]
        assert description.style is not None
        assert description.style.medium is None or description.confidence["medium"] >= 0.8


def test_a_confidence_outside_0_to_1_is_an_error() -> None:
    with pytest.raises(MegastyleError, match="1.5"):
        PixelCaptioner(min_confidence=1.5)


def test_style_alone_needs_no_torch() -> None:
    code = (
        "import sys; from PIL import Image;"
        "from megastyle_cli.models.builtin.captioner import PixelCaptioner;"
        "PixelCaptioner().describe([Image.new('RGB', (32, 32))], 'style');"
        "sys.exit('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_images_give_no_descriptions() -> None:
    assert PixelCaptioner().describe([], "style") == []
