"""Similarities are cosines of picture and noun by a real CLIP; what cannot be used is counted."""

import numpy as np
import pytest

from megastyle_cli.bias.measure import measure_similarities
from megastyle_cli.bias.nouns import TEMPLATE
from megastyle_cli.io.images import ImageReader
from megastyle_cli.models.registry import load
from tests.conftest import draw
from tests.models.encoders.test_dual_encoder import clip_folder

KEYS = {"label": "style_id", "content_label": "content_id"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = clip_folder(tmp_path_factory.mktemp("clip"))
    return load("text_image", "auto", model=str(folder))


def test_similarities_are_cosines_in_the_order_of_the_records(model, tmp_path):
    images = [draw(seed) for seed in range(3)]
    records = []
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number}.png")
        records.append({"id": str(number), "file_name": str(tmp_path / f"{number}.png")})
        records[-1] |= {"style_id": f"s{number % 2}", "content_id": f"c{number}"}
    nouns = ["oil", "ink"]

    found, failures = measure_similarities(records, nouns, model, ImageReader(), **KEYS)

    texts = model.embed_texts([TEMPLATE.format(noun) for noun in nouns])
    np.testing.assert_allclose(found.values, model.embed(images) @ texts.T, atol=1e-6)
    assert (found.styles, found.contents) == (["s0", "s1", "s0"], ["c0", "c1", "c2"])
    assert failures == []


def test_records_without_picture_style_or_content_are_failures(model, tmp_path):
    draw(0).save(tmp_path / "a.png")
    whole = {"file_name": str(tmp_path / "a.png"), "style_id": "s", "content_id": "c"}
    records = [{"id": key, **{k: v for k, v in whole.items() if k != key}} for key in whole]
    records.append({"id": "x", **whole, "file_name": "missing.png"})

    found, failures = measure_similarities(records, ["oil"], model, ImageReader(), **KEYS)

    assert found.values.shape == (0, 1)
    assert [failure.kind for failure in failures] == ["missing_key"] * 3 + ["bad_image"]
    assert "has no style_id" in failures[1].message
