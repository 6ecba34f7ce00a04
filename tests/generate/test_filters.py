"""Filters: which images are rejected and why, whatever their order and batch."""

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import as_context_only
from megastyle_cli.generate.filters import (
    MAX_DISTANCE_BITS,
    MIN_CONTRAST,
    BlankFilter,
    Candidate,
    ConsistencyFilter,
    DuplicateImageFilter,
    ReferenceFilter,
    Rejection,
    UnsafeFilter,
    contrast,
    difference_hash,
    first_rejections,
    style_key,
)
from megastyle_cli.io.writers.rejects_file import ImageHashFile
from megastyle_cli.models.protocols import PictureRequest
from tests.conftest import draw, lines


def candidate(image, record_id="a", **request):
    return Candidate({"id": record_id}, PictureRequest(**request), image)


def noise(level, spread, seed=0):
    values = np.random.default_rng(seed).normal(level, spread, (64, 64, 3))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


class MeanColor:
    """A style encoder: the mean colour as a unit row."""

    name = "mean"

    def __init__(self):
        self.num_embedded = 0

    def embed(self, pictures):
        self.num_embedded += len(pictures)
        rows = np.stack([np.asarray(p, np.float32).mean(axis=(0, 1)) for p in pictures])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def new_hashes(tmp_path):
    """The hash file of a new output."""
    return ImageHashFile(tmp_path / "hashes.jsonl", Counter(), resume=False)


@pytest.mark.parametrize(
    ("image", "is_blank"),
    [
        (Image.new("RGB", (64, 64)), True),
        (Image.new("RGB", (64, 64), "white"), True),
        (Image.new("RGB", (64, 64), (90, 140, 30)), True),
        (noise(128, MIN_CONTRAST / 2), True),
        (noise(128, 2 * MIN_CONTRAST), False),
        (draw(1), False),
    ],
)
def test_images_of_almost_a_single_colour_are_blank(image, is_blank):
    (rejection,) = BlankFilter().check([candidate(image)])

    assert (rejection is not None) == is_blank
    assert rejection is None or rejection == Rejection("blank", round(contrast(image), 3))


def test_a_thin_word_on_white_paper_is_not_blank():
    paper = Image.new("RGB", (512, 512), "white")
    paper.paste("black", (200, 250, 300, 254))

    assert BlankFilter().check([candidate(paper)]) == [None]


def test_the_first_of_several_duplicates_passes(new_hashes):
    duplicates = DuplicateImageFilter(new_hashes)

    first, second, other, third = duplicates.check(
        [candidate(draw(seed), str(row)) for row, seed in enumerate((1, 1, 2, 1))]
    )

    assert (first, other) == (None, None)
    assert second == third == Rejection("duplicate", 1.0)


def test_a_resumed_filter_knows_the_images_whose_records_were_written(tmp_path):
    path = tmp_path / "hashes.jsonl"
    before = DuplicateImageFilter(ImageHashFile(path, Counter(), resume=False))
    before.check([candidate(draw(1), "written"), candidate(draw(2), "lost")])

    resumed = DuplicateImageFilter(ImageHashFile(path, Counter(["written"]), resume=True))
    rejections = resumed.check([candidate(draw(1), "copy"), candidate(draw(2), "lost")])

    assert rejections == [Rejection("duplicate", 1.0), None]
    assert [line["id"] for line in lines(path)] == ["written", "lost"]


def test_a_damaged_file_of_hashes_is_named(tmp_path):
    path = tmp_path / "hashes.jsonl"
    path.write_text('{"id": "a", "hash": "no hex"}\n')

    with pytest.raises(MegastyleError, match="hashes.jsonl is damaged: 'no hex'"):
        DuplicateImageFilter(ImageHashFile(path, Counter(["a"]), resume=True))


def test_company_is_neither_rejected_nor_remembered(new_hashes):
    company = Candidate(as_context_only({"id": "old"}), PictureRequest(), draw(1))

    rejections = DuplicateImageFilter(new_hashes).check([company, company, candidate(draw(1))])

    assert rejections == [None, None, None]


@pytest.mark.parametrize("change", ["jpeg", "lighter", "smaller"])
def test_another_format_brightness_or_size_is_a_duplicate(change, new_hashes):
    image = draw(3, 256, 256)
    if change == "jpeg":
        encoded = io.BytesIO()
        image.save(encoded, "JPEG", quality=80)
        other = Image.open(encoded).convert("RGB")
    elif change == "lighter":
        other = image.point(lambda level: min(255, level + 1))
    else:
        other = image.resize((128, 128), Image.Resampling.LANCZOS)

    passed, rejected = DuplicateImageFilter(new_hashes).check([candidate(image), candidate(other)])

    assert passed is None and rejected.reason == "duplicate"


def test_duplicates_equal_a_brute_force_search_over_many_hashes(new_hashes):
    images = [draw(seed, 200, 160) for seed in range(90)]
    hashes = [difference_hash(image) for image in images]
    kept = []
    for row, bits in enumerate(hashes):
        if all(np.bitwise_count(bits ^ hashes[k]).sum() > MAX_DISTANCE_BITS for k in kept):
            kept.append(row)

    duplicates = DuplicateImageFilter(new_hashes)
    rejections = [duplicates.check([candidate(image)])[0] for image in images]

    assert [row for row, rejection in enumerate(rejections) if rejection is None] == kept


def test_a_reference_score_is_the_cosine_with_the_reference_whatever_the_batch():
    encoder = MeanColor()
    red = {"references": (noise(200, 1),), "reference_keys": ("r.png",)}
    candidates = [candidate(draw(seed), **red) for seed in range(5)]
    scores = encoder.embed([c.image for c in candidates]) @ encoder.embed([noise(200, 1)])[0]
    min_score = float(np.median(scores)) + 1e-6

    in_one_batch = ReferenceFilter(encoder, min_score, None).check(candidates)
    one_by_one = [
        ReferenceFilter(encoder, min_score, None).check([c])[0] for c in reversed(candidates)
    ]

    assert in_one_batch == one_by_one[::-1]
    assert [r is not None for r in in_one_batch] == [score < min_score for score in scores]
    assert in_one_batch[int(scores.argmin())] == Rejection("style", round(float(scores.min()), 4))


def test_a_consistency_score_is_the_mean_cosine_with_the_others_of_the_style():
    encoder = MeanColor()
    candidates = [
        Candidate({"id": str(row), "style_id": str(row % 3)}, PictureRequest(), draw(row))
        for row in range(14)
    ]
    rows = encoder.embed([c.image for c in candidates])
    means = [
        np.mean([rows[row] @ rows[other] for other in range(row % 3, 14, 3) if other != row])
        for row in range(14)
    ]
    min_score = float(np.median(means))

    rejections = ConsistencyFilter(encoder, min_score, None).check(candidates)

    assert [r is not None for r in rejections] == [mean < min_score for mean in means]
    worst = int(np.argmin(means))
    assert rejections[worst] == Rejection("style", round(float(means[worst]), 4))


def test_an_image_without_others_of_its_style_passes():
    consistency = ConsistencyFilter(MeanColor(), 1.0, None)

    assert consistency.check([candidate(draw(1)), candidate(draw(2), "b")]) == [None, None]


@pytest.mark.parametrize(
    ("record", "key"),
    [
        ({"id": "a", "style_id": 7, "style": "ink"}, "7"),
        ({"id": "a", "style_id": "", "style": "ink", "style_file_name": "s.png"}, "ink"),
        ({"id": "a", "style": None, "style_file_name": "s.png"}, "s.png"),
        ({"id": "a"}, "a"),
    ],
)
def test_a_style_is_identified_by_the_first_key_that_has_a_value(record, key):
    assert style_key(record) == key


def test_a_reference_is_embedded_once():
    encoder = MeanColor()
    reference = ReferenceFilter(encoder, -1, 32)

    for seed in range(4):
        reference.check([candidate(draw(seed), references=(draw(9),), reference_keys=("r.png",))])

    assert encoder.num_embedded == 4 + 1


def test_images_above_the_tolerated_probability_are_unsafe():
    class ByWidth:
        name = "width"

        def unsafe(self, pictures):
            return [picture.width / 100 for picture in pictures]

    candidates = [candidate(draw(1, width)) for width in (30, 50, 70)]

    assert UnsafeFilter(ByWidth(), 0.5).check(candidates) == [None, None, Rejection("nsfw", 0.7)]


def test_the_first_rejection_counts_and_later_filters_do_not_see_the_image():
    seen = []

    class Recorder:
        def check(self, candidates):
            seen.extend(c.record["id"] for c in candidates)
            return [None] * len(candidates)

    blank = candidate(Image.new("RGB", (32, 32)), "blank")
    rejections = first_rejections([blank, candidate(draw(1), "fine")], [BlankFilter(), Recorder()])

    assert [r and r.reason for r in rejections] == ["blank", None]
    assert seen == ["fine"]
