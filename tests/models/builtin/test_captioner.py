"""Measured captions of drawn pictures whose style is known."""

import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.style import WORD_LIMITS, StyleAttributes, style_sentence
from megastyle_cli.models.builtin.canvas import to_lab
from megastyle_cli.models.builtin.captioner import PixelCaptioner
from tests.core.style_parser import parse_style


def described(picture: Image.Image) -> StyleAttributes:
    style = PixelCaptioner().describe([picture], "style")[0].style
    assert style is not None
    return style


def from_values(values: np.ndarray) -> Image.Image:
    """An RGB picture of (h, w) or (h, w, 3) values, clipped to bytes."""
    clipped = np.clip(values, 0, 255).astype(np.uint8)
    return Image.fromarray(clipped).convert("RGB")


def noisy(width: int = 200, height: int = 160, seed: int = 0) -> np.ndarray:
    """Smooth blotches of colour with grain, (height, width, 3)."""
    rng = np.random.default_rng(seed)
    blotches = Image.fromarray(rng.integers(40, 216, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(blotches.resize((width, height), Image.Resampling.BICUBIC))
    return smooth + rng.normal(0, 6, (height, width, 3))


def cartoon() -> Image.Image:
    picture = Image.new("RGB", (240, 240), (250, 235, 190))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((20, 20, 120, 120), fill=(220, 60, 40), outline=(0, 0, 0), width=5)
    draw.rectangle((130, 60, 220, 200), fill=(60, 120, 200), outline=(0, 0, 0), width=5)
    draw.polygon([(30, 220), (110, 220), (70, 140)], fill=(90, 180, 90), outline=(0, 0, 0), width=5)
    return picture


def strokes(horizontal: bool) -> Image.Image:
    """Ochre paint: short strokes along one axis over a mottled ground, without plain areas."""
    rng = np.random.default_rng(1)
    ground = noisy(256, 256) * 0.3 + np.array([120, 90, 40])
    picture = from_values(ground)
    draw = ImageDraw.Draw(picture)
    for _ in range(1500):
        x, y = rng.integers(-20, 256, 2)
        color = tuple(int(v) for v in rng.integers((90, 60, 10), (230, 190, 90)))
        draw.line((int(x), int(y), int(x) + 40, int(y)), fill=color, width=4)
    picture = picture.filter(ImageFilter.GaussianBlur(0.7))
    return picture if horizontal else picture.transpose(Image.Transpose.ROTATE_90)


def checkerboard() -> Image.Image:
    rows, columns = np.indices((192, 192)) // 24
    return from_values(((rows + columns) % 2) * 255)


def stripes() -> Image.Image:
    return from_values(np.tile((np.arange(192) // 12 % 2) * 200 + 20, (192, 1)))


def lit_from_the_left() -> Image.Image:
    return from_values(noisy() * 0.2 + np.linspace(190, 20, 200)[None, :, None])


def edge_cases() -> dict[str, Image.Image]:
    return {
        "one pixel": Image.new("RGB", (1, 1), (10, 200, 30)),
        "white": Image.new("RGB", (64, 64), (255, 255, 255)),
        "black": Image.new("RGB", (300, 20), (0, 0, 0)),
        "gray mode": Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)),
        "thin": from_values(noisy(2000, 1)),
        "tall": from_values(noisy(1, 2000)),
        "odd": from_values(noisy(37, 23)),
    }


PICTURES = {
    **edge_cases(),
    "cartoon": cartoon(),
    "strokes": strokes(True),
    "checkerboard": checkerboard(),
    "stripes": stripes(),
    "lit": lit_from_the_left(),
    "noise": from_values(noisy()),
    "red": Image.new("RGB", (80, 80), (224, 20, 28)),
}


def test_lab_is_that_of_the_standard() -> None:
    primaries = np.array([[255, 0, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]], dtype=np.uint8)

    known = [[53.24, 80.09, 67.20], [32.30, 79.19, -107.86], [100, 0, 0], [0, 0, 0]]

    assert np.allclose(to_lab(primaries), known, atol=0.2)


def test_a_red_picture_is_named_red() -> None:
    assert described(PICTURES["red"]).colors == "red"


def test_small_strong_colors_are_accents() -> None:
    picture = Image.new("RGB", (200, 200), (18, 32, 79))
    ImageDraw.Draw(picture).rectangle((80, 80, 120, 120), fill=(255, 127, 14))

    seen = described(picture)

    assert (seen.colors, seen.accents) == ("navy", "orange")


@pytest.mark.parametrize(
    ("turn", "words"),
    [(0, "left-to-right"), (90, "bottom-up"), (180, "right-to-left"), (270, "top-down")],
)
def test_the_direction_of_light_is_said(turn: int, words: str) -> None:
    light = described(PICTURES["lit"].rotate(turn, expand=True)).light

    assert light is not None and words in light


def test_plain_areas_have_no_light() -> None:
    assert described(cartoon()).light == "flat unshaded"


def test_repetition_is_a_pattern() -> None:
    assert described(checkerboard()).pattern == "checkered grid"
    assert described(stripes()).pattern == "vertical stripes"
    assert described(stripes().rotate(90)).pattern == "horizontal stripes"


def test_what_does_not_repeat_has_no_pattern() -> None:
    assert described(PICTURES["noise"]).pattern is None
    assert described(cartoon()).pattern is None


def test_black_outlines_of_a_cartoon_are_seen() -> None:
    outline = described(cartoon()).outline

    assert outline is not None and "black outlines" in outline


def test_a_drawing_is_described_alike_at_every_size() -> None:
    large = Image.new("RGB", (1024, 1024), "white")
    draw = ImageDraw.Draw(large)
    draw.ellipse((200, 200, 800, 800), outline=(18, 32, 79), width=60)
    draw.line((100, 900, 900, 900), fill=(18, 32, 79), width=60)

    seen = [
        described(large.resize((side, side), Image.Resampling.BOX)) for side in (128, 256, 1024)
    ]

    assert seen[0].outline == seen[1].outline == seen[2].outline == "bold navy outlines"
    assert seen[0].medium == seen[1].medium == seen[2].medium == "bold line drawing"


def test_the_same_shapes_without_lines_have_no_outline() -> None:
    picture = Image.new("RGB", (240, 240), (250, 235, 190))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((20, 20, 120, 120), fill=(220, 60, 40))
    draw.rectangle((130, 60, 220, 200), fill=(60, 120, 200))

    assert described(picture).outline is None


def test_blurred_edges_are_soft_and_drawn_ones_sharp() -> None:
    assert described(cartoon()).edges == "sharp"
    assert described(cartoon().filter(ImageFilter.GaussianBlur(4))).edges == "soft"


def test_strokes_have_their_direction() -> None:
    along, upright = described(strokes(True)).brushwork, described(strokes(False)).brushwork

    assert along is not None and "horizontal" in along
    assert upright is not None and "vertical" in upright


def test_grain_is_a_rougher_surface_than_a_smooth_ramp() -> None:
    rng = np.random.default_rng(2)
    ramp = np.tile(np.linspace(60, 190, 200), (200, 1))

    assert described(from_values(ramp)).surface == "smooth"
    assert described(from_values(ramp + rng.normal(0, 25, ramp.shape))).surface == (
        "densely fine-grained"
    )


def test_a_gray_picture_is_monochrome() -> None:
    identity = described(PICTURES["gray mode"]).identity

    assert identity is not None and identity.startswith("monochrome")


@pytest.mark.parametrize("name", PICTURES)
def test_every_answer_keeps_the_word_limits(name: str) -> None:
    seen = described(PICTURES[name])

    for field in fields(seen):
        value = getattr(seen, field.name)
        if value is not None:
            assert value and len(value.split()) <= WORD_LIMITS[field.name]
            assert value.isascii() and "," not in value and "." not in value


@pytest.mark.parametrize("name", PICTURES)
def test_every_caption_can_be_read_back(name: str) -> None:
    seen = described(PICTURES[name])

    assert parse_style(style_sentence(seen, "v2")) == seen
    assert len(style_sentence(seen, "v1").split()) <= 32


def test_different_pictures_get_different_sentences() -> None:
    names = ["cartoon", "strokes", "checkerboard", "stripes", "lit", "noise", "red", "black"]

    said = {style_sentence(described(PICTURES[name])) for name in names}

    assert len(said) == len(names)


def test_an_answer_does_not_depend_on_its_batch() -> None:
    pictures = list(PICTURES.values())
    captioner = PixelCaptioner()

    together = captioner.describe(pictures, "style")

    assert together == [captioner.describe([picture], "style")[0] for picture in pictures]
    assert together[::-1] == captioner.describe(pictures[::-1], "style")


def test_only_what_was_asked_for_is_answered() -> None:
    style = PixelCaptioner().describe([cartoon()], "style")[0]
    both = PixelCaptioner(min_confidence=0).describe([cartoon()], "both")[0]
    content = PixelCaptioner(min_confidence=1).describe([cartoon()], "content")[0]

    assert style.content is None and set(style.confidence) == {"medium"}
    assert both.content and both.style == style.style
    assert set(both.confidence) == {"medium", "content"}
    assert content.style is None and content.content is None
    assert 0 < content.confidence["content"] < 1


def test_an_unsure_medium_is_not_named() -> None:
    for picture in PICTURES.values():
        answer = PixelCaptioner().describe([picture], "style")[0]
        assert answer.style is not None
        assert (answer.style.medium is None) or answer.confidence["medium"] >= 0.8


def test_a_confidence_outside_0_to_1_is_refused() -> None:
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


def test_no_pictures_give_no_descriptions() -> None:
    assert PixelCaptioner().describe([], "style") == []
