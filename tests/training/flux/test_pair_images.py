"""Loading a pair: target unchanged, reference mirrored and cropped, unreadable ones replaced."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.training.flux.pair_images import augment_reference, load_pair
from megastyle_cli.training.flux.pairs import (
    AREA,
    CROP,
    FLIP,
    LEFT,
    TOP,
    PairSampler,
    split_pairs,
)
from tests.conftest import draw

SIZE = 32


def draws(**changed):
    values = np.full(8, 0.9)
    for name, value in changed.items():
        values[{"flip": FLIP, "crop": CROP, "area": AREA, "left": LEFT, "top": TOP}[name]] = value
    return values


@pytest.fixture
def pairs(tmp_path):
    """Two styles of three images each, all in one folder."""
    records = []
    for s in range(2):
        for n in range(3):
            path = tmp_path / f"{s}-{n}.png"
            draw(10 * s + n, 40, 60).save(path)
            known = {"id": path.stem, "style_id": f"s{s}", "content": f"c{n}"}
            records.append({**known, "file_name": str(path)})
    label = {"label": "style_id", "holdout": 0, "split_key": None, "seed": 0}
    return split_pairs(records, **label).training


def same(one, other):
    return np.array_equal(np.asarray(one), np.asarray(other))


def test_the_target_is_resized_and_never_augmented(pairs):
    sampler = PairSampler(pairs, batch=1, seed=0)
    for index in range(10):
        pair_draw = sampler.draw(index)
        pair = load_pair(pairs, pair_draw, SIZE, augment=True)

        with Image.open(pairs.targets[pair_draw.target]) as image:
            expected = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        assert same(pair.target, expected)
        assert pair.content == pairs.contents[pair_draw.target] and pair.failures == []


def test_a_reference_is_mirrored_or_cropped_according_to_its_draws():
    image = draw(3, SIZE, SIZE)

    assert augment_reference(image, draws()) is image
    assert same(augment_reference(image, draws(flip=0.1)), ImageOps.mirror(image))
    cropped = augment_reference(image, draws(crop=0.1, area=0.0, left=0.0, top=0.0))
    side = round(SIZE * 0.8**0.5)
    corner = image.crop((0, 0, side, side)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    assert same(cropped, corner)
    whole = augment_reference(image, draws(crop=0.1, area=1.0))
    assert same(whole, image)


def test_a_crop_stays_within_the_image_for_extreme_draws():
    image = Image.new("RGB", (SIZE, SIZE), "white")
    for end in (0.0, 1 - 2**-53):
        cropped = augment_reference(image, draws(crop=0.0, area=0.0, left=end, top=end))
        assert np.asarray(cropped).min() == 255


@pytest.mark.parametrize("which", ["target", "reference"])
def test_an_unreadable_image_is_replaced_by_one_of_its_style(pairs, tmp_path, which):
    pair_draw = PairSampler(pairs, batch=1, seed=0).draw(0)
    row = getattr(pair_draw, which)
    (tmp_path / f"{pairs.ids[row]}.png").write_bytes(b"no image")

    pair = load_pair(pairs, pair_draw, SIZE, augment=False)

    (failure,) = pair.failures
    assert failure.record["id"] == pairs.ids[row] and failure.kind == "bad_image"
    style = pairs.ids[row][0]
    assert pair.id[0] == style and pair.id != pairs.ids[row]
    assert not same(pair.target, pair.reference)


def test_a_style_with_a_single_readable_image_is_replaced_by_the_next(pairs, tmp_path):
    pair_draw = PairSampler(pairs, batch=1, seed=0).draw(0)
    mine = pairs.ids[pair_draw.target][0]
    for n in range(2):
        (tmp_path / f"{mine}-{n}.png").unlink()

    pair = load_pair(pairs, pair_draw, SIZE, augment=False)

    assert pair.id[0] != mine and len(pair.failures) == 2


def test_no_readable_pair_is_reported(pairs, tmp_path):
    for path in tmp_path.glob("*.png"):
        path.unlink()

    with pytest.raises(MegastyleError, match="the images of no pair can be opened"):
        load_pair(pairs, PairSampler(pairs, batch=1, seed=0).draw(0), SIZE, augment=False)
