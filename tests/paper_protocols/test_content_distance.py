"""The distance of an image and its content image by normalized patches."""

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.paper_protocols.content_distance import (
    content_distance,
    normalized_patches,
    patch_distance,
)
from tests.conftest import draw

RNG = np.random.default_rng(0)


class Pixels:
    """The pixels of an image of 64 x 48 as 12 x 16 patches of 3 channels."""

    name = "pixels"

    def embed_patches(self, images):
        small = [np.asarray(image.resize((16, 12)), dtype=np.float32) for image in images]
        return np.stack(small).reshape(len(images), -1, 3)


def normalized(*shape):
    return normalized_patches(RNG.normal(size=(1, *shape)))[0]


def test_a_change_of_mean_and_spread_is_no_distance():
    """It is what a change of style does first: brightness and contrast of each channel."""
    patches = RNG.normal(size=(1, 50, 4))
    changed = patches * [2, 0.5, 3, 1] + [1, -2, 0, 5]

    one, other = normalized_patches(patches)[0], normalized_patches(changed)[0]

    assert patch_distance(one, other) == pytest.approx(0, abs=1e-12)


def test_unrelated_patches_are_at_2_and_opposite_ones_at_4():
    assert patch_distance(normalized(4000, 8), normalized(4000, 8)) == pytest.approx(2, abs=0.05)
    one = normalized(100, 8)
    assert patch_distance(one, -one) == pytest.approx(4)
    assert patch_distance(one, one) == 0


def test_a_channel_that_is_equal_everywhere_stays_finite():
    assert np.isfinite(normalized_patches(np.ones((1, 9, 2)))).all()


def test_images_are_compared_with_their_own_contents(tmp_path):
    for number in range(3):
        draw(number).save(tmp_path / f"{number}.png")
    name = {number: str(tmp_path / f"{number}.png") for number in range(3)}
    records = [
        {"id": "same", "file_name": name[0], "content_file_name": name[0]},
        {"id": "moved", "file_name": name[0], "content_file_name": name[1]},
        {"id": "none", "file_name": name[2]},
        {"id": "lost", "file_name": str(tmp_path / "lost.png"), "content_file_name": name[1]},
    ]

    found, (failure,) = content_distance(records, Pixels(), label="style_id", seed=0)

    image, content = (normalized_patches(Pixels().embed_patches([draw(n)]))[0] for n in (0, 1))
    assert found["value"] == pytest.approx(patch_distance(image, content) / 2, abs=1e-3)
    assert found["random"] == pytest.approx(0, abs=1e-4)  # of "moved": the content of "same"
    assert found["images"] == 2 and failure.record["id"] == "lost"


def test_images_without_contents_are_refused(tmp_path):
    with pytest.raises(MegastyleError, match="no image has a content_file_name"):
        content_distance([{"id": "a", "file_name": "a.png"}], Pixels(), label="s", seed=0)
