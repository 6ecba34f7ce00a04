"""The builtin painter and stylist: sizes, strength, mixing, repeatability, missing images."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.models.builtin.magenta_painter import MagentaPainter, StyleVectorCache
from megastyle_cli.models.protocols import PictureRequest


@pytest.fixture(scope="module")
def painter():
    return MagentaPainter()


def scene(width=128, height=96):
    """A house under a sun."""
    picture = Image.new("RGB", (width, height), (150, 190, 230))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, height * 0.7, width, height), fill=(70, 120, 60))
    draw.rectangle((width * 0.2, height * 0.4, width * 0.6, height * 0.8), fill=(170, 90, 70))
    draw.ellipse((width * 0.7, height * 0.1, width * 0.9, height * 0.3), fill=(250, 220, 90))
    return picture


def strokes(colors, seed=0, size=(200, 140)):
    """Short thick lines in a few colours: a style."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", size, colors[0])
    draw = ImageDraw.Draw(picture)
    for k in range(300):
        x, y = rng.uniform((0, 0), size)
        draw.line((x, y, x + 14, y + 6), fill=colors[k % len(colors)], width=4)
    return picture


REDS = strokes([(170, 20, 30), (230, 80, 50), (60, 10, 20), (250, 220, 200)])
BLUES = strokes([(20, 40, 150), (60, 120, 220), (10, 20, 60), (220, 235, 250)], seed=1)


def ask(content, *references, **changes):
    return PictureRequest(content_picture=content, references=references, **changes)


def pixels(picture):
    return np.asarray(picture, np.float32)


def distance(one, other):
    return float(np.abs(pixels(one) - pixels(other)).mean())


@pytest.mark.parametrize("size", [(96, 160), (160, 96), (131, 97), (300, 7), (1, 1), (3000, 20)])
def test_painting_has_the_size_of_its_content(painter, size):
    painting = painter.paint([ask(scene(*size), REDS)])[0]

    assert painting.size == size
    assert painting.mode == "RGB"


def test_long_side_keeps_the_proportions(painter):
    portrait, landscape = painter.paint(
        [ask(scene(60, 90), REDS, long_side=120), ask(scene(90, 45), REDS, long_side=120)]
    )

    assert portrait.size == (80, 120)
    assert landscape.size == (120, 60)


def test_colours_come_from_the_reference(painter):
    red, blue = painter.paint([ask(scene(), REDS), ask(scene(), BLUES)])

    warmth = [
        pixels(picture)[..., 0].mean() - pixels(picture)[..., 2].mean() for picture in (red, blue)
    ]
    assert warmth[0] > warmth[1] + 40


def test_strength_zero_is_the_content_picture(painter):
    content = scene()

    same, resized = painter.paint(
        [ask(content, REDS, strength=0.0), ask(content, REDS, strength=0.0, long_side=64)]
    )

    assert same.tobytes() == content.tobytes()
    assert resized.tobytes() == content.resize((64, 48), Image.Resampling.LANCZOS).tobytes()


def test_more_strength_is_farther_from_the_content_picture(painter):
    strengths = (0.0, 0.05, 0.25, 0.5, 0.75, 1.0)

    paintings = painter.paint([ask(scene(), REDS, strength=strength) for strength in strengths])

    distances = [distance(painting, scene()) for painting in paintings]
    assert distances == sorted(distances)
    assert distances[1] < 0.3 * distances[-1]
    assert min(np.diff(distances)) > 0


def test_weights_mix_references(painter):
    first, second, only_first, both = painter.paint(
        [
            ask(scene(), REDS),
            ask(scene(), BLUES),
            ask(scene(), REDS, BLUES, weights=(1.0, 0.0)),
            ask(scene(), REDS, BLUES, weights=(0.5, 0.5)),
        ]
    )

    assert only_first.tobytes() == first.tobytes()
    assert distance(both, first) < distance(first, second)
    assert distance(both, second) < distance(first, second)


def test_a_request_paints_the_same_bytes_alone_and_in_a_batch(painter):
    requests = [
        ask(scene(), REDS),
        ask(scene(100, 140), BLUES, strength=0.6),
        ask(scene(64, 64), REDS, BLUES, weights=(0.3, 0.7)),
        ask(scene(), BLUES),
    ]

    together = painter.paint(requests)
    alone = [painter.paint([request])[0] for request in requests]

    assert [p.tobytes() for p in together] == [p.tobytes() for p in alone]


def test_stylist_and_painter_agree(painter):
    request = ask(scene(), REDS)

    assert MagentaPainter().restyle([request])[0].tobytes() == painter.paint([request])[0].tobytes()


def test_a_style_vector_is_computed_once_for_each_key():
    painter = MagentaPainter()
    again = [ask(scene(32, 32), REDS, reference_keys=("reds",)) for _ in range(3)]

    painter.paint(again)
    painter.paint([*again, ask(scene(32, 32), BLUES, reference_keys=("blues",))])

    assert painter.styles.computed == 2


def test_style_vectors_forget_the_least_recently_used():
    styles = StyleVectorCache(limit=2)

    for key in ("a", "b", "a", "c", "a"):
        styles.get(key, REDS)
    kept = styles.computed
    styles.get("b", REDS)

    assert kept == 3
    assert styles.computed == 4


@pytest.mark.parametrize(
    ("request_", "needed"),
    [
        (PictureRequest(content="a bench", references=(REDS,)), "content image"),
        (
            PictureRequest(content_picture=scene(), style="oil painting"),
            "no style image",
        ),
    ],
)
def test_a_request_without_its_pictures_names_the_option_for_words(painter, request_, needed):
    with pytest.raises(BadRecord, match="unless --model") as refusal:
        painter.paint([request_])

    assert refusal.value.kind == "missing_key"
    assert needed in refusal.value.message
