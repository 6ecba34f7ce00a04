"""A pair's pictures: the target as it is, the reference mirrored and cut, broken ones replaced."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.training.flux.augment import augmented, opened
from megastyle_cli.training.flux.pairs import (
    AREA,
    CROP,
    FLIP,
    LEFT,
    TOP,
    PairSampler,
    pairs_of,
)
from tests.conftest import draw

SIZE = 32


def draws(**changed):
    told = np.full(8, 0.9)
    for name, value in changed.items():
        told[{"flip": FLIP, "crop": CROP, "area": AREA, "left": LEFT, "top": TOP}[name]] = value
    return told


@pytest.fixture
def pairs(tmp_path):
    """Two styles of three pictures each, all in one folder."""
    records = []
    for s in range(2):
        for n in range(3):
            path = tmp_path / f"{s}-{n}.png"
            draw(10 * s + n, 40, 60).save(path)
            known = {"id": path.stem, "style_id": f"s{s}", "content": f"c{n}"}
            records.append({**known, "file_name": str(path)})
    label = {"label": "style_id", "holdout": 0, "split_key": None, "seed": 0}
    return pairs_of(records, **label).training


def same(one, other):
    return np.array_equal(np.asarray(one), np.asarray(other))


def test_the_target_is_squashed_and_never_changed(pairs):
    sampler = PairSampler(pairs, batch=1, seed=0)
    for place in range(10):
        drawn = sampler.drawn(place)
        found = opened(pairs, drawn, SIZE, augment=True)

        with Image.open(pairs.targets[drawn.target]) as whole:
            expected = whole.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        assert same(found.target, expected)
        assert found.content == pairs.contents[drawn.target] and found.failures == []


def test_a_reference_is_mirrored_cut_both_or_neither():
    picture = draw(3, SIZE, SIZE)

    assert augmented(picture, draws()) is picture
    assert same(augmented(picture, draws(flip=0.1)), ImageOps.mirror(picture))
    cut = augmented(picture, draws(crop=0.1, area=0.0, left=0.0, top=0.0))
    side = round(SIZE * 0.8**0.5)
    corner = picture.crop((0, 0, side, side)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    assert same(cut, corner)
    whole = augmented(picture, draws(crop=0.1, area=1.0))
    assert same(whole, picture)


def test_a_cut_stays_within_the_picture_at_the_ends_of_chance():
    picture = Image.new("RGB", (SIZE, SIZE), "white")
    for end in (0.0, 1 - 2**-53):
        cut = augmented(picture, draws(crop=0.0, area=0.0, left=end, top=end))
        assert np.asarray(cut).min() == 255


@pytest.mark.parametrize("which", ["target", "reference"])
def test_a_picture_that_does_not_open_is_replaced_by_one_of_its_style(pairs, tmp_path, which):
    drawn = PairSampler(pairs, batch=1, seed=0).drawn(0)
    row = getattr(drawn, which)
    (tmp_path / f"{pairs.ids[row]}.png").write_bytes(b"no picture")

    found = opened(pairs, drawn, SIZE, augment=False)

    (failure,) = found.failures
    assert failure.record["id"] == pairs.ids[row] and failure.kind == "bad_image"
    style = pairs.ids[row][0]
    assert found.id[0] == style and found.id != pairs.ids[row]
    assert not same(found.target, found.reference)


def test_a_style_with_one_picture_that_opens_gives_its_turn_to_the_next(pairs, tmp_path):
    drawn = PairSampler(pairs, batch=1, seed=0).drawn(0)
    mine = pairs.ids[drawn.target][0]
    for n in range(2):
        (tmp_path / f"{mine}-{n}.png").unlink()

    found = opened(pairs, drawn, SIZE, augment=False)

    assert found.id[0] != mine and len(found.failures) == 2


def test_nothing_that_opens_is_one_sentence(pairs, tmp_path):
    for path in tmp_path.glob("*.png"):
        path.unlink()

    with pytest.raises(MegastyleError, match="no pair whose pictures can be opened"):
        opened(pairs, PairSampler(pairs, batch=1, seed=0).drawn(0), SIZE, augment=False)
