"""Vectors by pixel hash: cached, and NaN where the encoder failed."""

import numpy as np

from megastyle_cli.benchmark.vector_cache import LoadedEncoder, encode_pictures
from megastyle_cli.io.images import ImageReader
from tests.conftest import draw


class MeanColor:
    """The mean color as a unit vector; not finite for images wider than 20 px."""

    name = "mean-color"

    def __init__(self):
        self.num_images = 0

    def embed(self, pictures):
        self.num_images += len(pictures)
        means = np.array([np.asarray(p, float).mean(axis=(0, 1)) for p in pictures]) + 1
        means[[p.width == 30 for p in pictures]] = np.nan
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)


def loaded(fingerprint="mean-color"):
    return LoadedEncoder(encoder=MeanColor(), reader=ImageReader(), fingerprint=fingerprint)


def pictures(folder):
    names = {}
    for number, side in enumerate((16, 16, 30)):
        names[f"hash{number}"] = str(folder / f"{number}.png")
        draw(number, side, side).save(names[f"hash{number}"])
    return names


def test_a_failed_picture_has_no_vector_and_the_others_have_theirs(tmp_path):
    found = encode_pictures(pictures(tmp_path), loaded())

    assert np.isnan(found["hash2"]).all()
    assert all(np.isfinite(found[name]).all() for name in ("hash0", "hash1"))


def test_cached_vectors_are_read_back_by_pixel_hash_encoder_and_change(tmp_path):
    names, cache = pictures(tmp_path), tmp_path / "cache"
    first = encode_pictures(names, loaded(), cache=cache)
    renamed = {key: f"gone/{key}" for key in names}

    again = encode_pictures(renamed, loaded(), cache=cache)

    assert all(np.array_equal(first[key], again[key], equal_nan=True) for key in names)
    for other, change in ((loaded("other"), ""), (loaded(), "grey")):
        encode_pictures(names, other, change=change, cache=cache)
        assert other.encoder.num_images > 1  # beyond the one that shows the width


def test_a_tier_changes_the_pictures_before_they_are_encoded(tmp_path):
    names = pictures(tmp_path)

    vectors = encode_pictures(names, loaded(), change="grey")

    assert np.allclose(vectors["hash0"], 3**-0.5, atol=1e-6)
