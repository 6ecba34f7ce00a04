"""Gates: what is turned away, why, and that neither batch nor order has a say in it."""

import io

import numpy as np
import pytest
from PIL import Image

from megastyle_cli.generate.filters import (
    BLANK_LEVELS,
    NEAR_BITS,
    Doubles,
    Painted,
    Verdict,
    blank_gate,
    consistency_gate,
    contrast,
    difference_hash,
    judged,
    style_gate,
    unsafe_gate,
)
from megastyle_cli.models.protocols import PictureRequest
from tests.conftest import draw


def painted(picture, record_id="a", **asked):
    return Painted({"id": record_id}, PictureRequest(**asked), picture)


def noisy(level, spread, seed=0):
    drawn = np.random.default_rng(seed).normal(level, spread, (64, 64, 3))
    return Image.fromarray(drawn.clip(0, 255).astype(np.uint8))


class Mean:
    """The mean colour as a unit row."""

    name = "mean"

    def __init__(self):
        self.embedded = 0

    def embed(self, pictures):
        self.embedded += len(pictures)
        rows = np.stack([np.asarray(p, np.float32).mean(axis=(0, 1)) for p in pictures])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("picture", "is_blank"),
    [
        (Image.new("RGB", (64, 64)), True),
        (Image.new("RGB", (64, 64), "white"), True),
        (Image.new("RGB", (64, 64), (90, 140, 30)), True),
        (noisy(128, BLANK_LEVELS / 2), True),
        (noisy(128, 2 * BLANK_LEVELS), False),
        (draw(1), False),
    ],
)
def test_pictures_of_all_but_one_colour_are_blank(picture, is_blank):
    (verdict,) = blank_gate([painted(picture)])

    assert (verdict is not None) == is_blank
    assert verdict is None or verdict == Verdict("blank", round(contrast(picture), 3))


def test_one_thin_word_on_white_paper_is_not_blank():
    paper = Image.new("RGB", (512, 512), "white")
    paper.paste("black", (200, 250, 300, 254))

    assert blank_gate([painted(paper)]) == [None]


def test_of_two_that_are_alike_the_first_stays():
    remembered = {}
    gate = Doubles([], remembered.__setitem__)

    first, second, other, third = gate(
        [painted(draw(seed), str(row)) for row, seed in enumerate((1, 1, 2, 1))]
    )

    assert (first, other) == (None, None)
    assert second == third == Verdict("duplicate", 1.0)
    assert list(remembered) == ["0", "2"]


@pytest.mark.parametrize("change", ["jpeg", "lighter", "smaller"])
def test_another_format_light_or_size_is_a_duplicate(change):
    picture = draw(3, 256, 256)
    if change == "jpeg":
        packed = io.BytesIO()
        picture.save(packed, "JPEG", quality=80)
        other = Image.open(packed).convert("RGB")
    elif change == "lighter":
        other = picture.point(lambda level: min(255, level + 1))
    else:
        other = picture.resize((128, 128), Image.Resampling.LANCZOS)

    gate = Doubles([], lambda *_: None)
    assert [v and v.reason for v in gate([painted(picture), painted(other)])] == [None, "duplicate"]


def test_hashes_that_are_known_count_and_many_are_searched():
    pictures = [draw(seed, 200, 160) for seed in range(90)]
    hashes = [difference_hash(picture) for picture in pictures]
    apart = [
        [int(np.bitwise_count(a ^ b).sum()) for b in hashes[:row]] for row, a in enumerate(hashes)
    ]

    kept = []
    for row in range(len(hashes)):
        if all(apart[row][other] > NEAR_BITS for other in kept):
            kept.append(row)
    known = [hashes[0].tobytes().hex()]
    gate = Doubles(known, lambda *_: None)
    verdicts = [gate([painted(picture)])[0] for picture in pictures[1:]]

    assert [0, *(row for row, verdict in enumerate(verdicts, 1) if verdict is None)] == kept


def test_a_style_score_is_the_cosine_with_the_reference_alone():
    encoder = Mean()
    reds = {"references": (noisy(200, 1),), "reference_keys": ("r.png",)}
    shown = [painted(draw(seed), **reds) for seed in range(5)]
    scores = encoder.embed([one.picture for one in shown]) @ encoder.embed([noisy(200, 1)])[0]
    least = float(np.median(scores)) + 1e-6

    together = style_gate(encoder, least, None)(shown)
    alone = [style_gate(encoder, least, None)([one])[0] for one in reversed(shown)]

    assert together == alone[::-1]
    assert [verdict is not None for verdict in together] == [score < least for score in scores]
    assert together[int(scores.argmin())] == Verdict("style", round(float(scores.min()), 4))


def test_a_consistent_picture_is_like_the_others_of_its_style_on_average():
    encoder = Mean()
    shown = [
        Painted({"id": str(row), "style_id": str(row % 3)}, PictureRequest(), draw(row))
        for row in range(14)
    ]
    looks = encoder.embed([one.picture for one in shown])
    means = [
        np.mean([looks[row] @ looks[other] for other in range(row % 3, 14, 3) if other != row])
        for row in range(14)
    ]
    least = float(np.median(means))

    verdicts = consistency_gate(encoder, least, None)(shown)

    assert [verdict is not None for verdict in verdicts] == [mean < least for mean in means]
    worst = int(np.argmin(means))
    assert verdicts[worst] == Verdict("style", round(float(means[worst]), 4))


def test_a_picture_without_others_of_its_style_stays():
    assert consistency_gate(Mean(), 1.0, None)([painted(draw(1)), painted(draw(2), "b")]) == [
        None,
        None,
    ]


def test_a_reference_is_embedded_once():
    encoder = Mean()
    gate = style_gate(encoder, -1, 32)

    for seed in range(4):
        gate([painted(draw(seed), references=(draw(9),), reference_keys=("r.png",))])

    assert encoder.embedded == 4 + 1


def test_what_is_more_unsafe_than_tolerated_is_turned_away():
    class Half:
        name = "half"

        def unsafe(self, pictures):
            return [picture.width / 100 for picture in pictures]

    shown = [painted(draw(1, width)) for width in (30, 50, 70)]

    assert unsafe_gate(Half(), 0.5)(shown) == [None, None, Verdict("nsfw", 0.7)]


def test_the_first_gate_that_objects_has_the_word_and_the_later_do_not_see_the_picture():
    seen = []

    def late(shown):
        seen.extend(one.record["id"] for one in shown)
        return [None] * len(shown)

    blank = painted(Image.new("RGB", (32, 32)), "blank")
    verdicts = judged([blank, painted(draw(1), "fine")], [blank_gate, late])

    assert [verdict and verdict.reason for verdict in verdicts] == ["blank", None]
    assert seen == ["fine"]
