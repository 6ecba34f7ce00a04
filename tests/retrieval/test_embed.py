"""Vectors of images, and a reason for each image that has none."""

import numpy as np
import pytest

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.models.builtin.style_descriptor import StyleDescriptor
from megastyle_cli.retrieval.embed import check_unit_rows, embed_images, embed_records, rounded
from tests.conftest import draw
from tests.drawn_images import DrawnImages


class NoNumbers:
    """An encoder without finite values for narrow images."""

    name = "lame"

    def embed(self, images):
        return np.array([[np.nan if im.width < 50 else 1.0, 0.0] for im in images], np.float32)


def test_records_are_embedded_in_order_and_failures_stay_in_place():
    records = [{"id": str(i), "file_name": str(i)} for i in range(40)]
    records[7] |= {"file_name": "broken"}
    del records[35]["file_name"]

    results = list(embed_records(records, StyleDescriptor(), DrawnImages()))

    failures = {i: r.kind for i, r in enumerate(results) if isinstance(r, Failure)}
    assert failures == {7: "bad_image", 35: "missing_key"}
    for i in (0, 31, 32, 39):
        record, vector = results[i]
        assert record == records[i]
        assert np.array_equal(vector, StyleDescriptor().embed([draw(i)])[0])


def test_an_image_without_a_finite_vector_is_named_with_its_model():
    images = [draw(1, 64, 64), draw(2, 32, 64), BadRecord("bad_image", "x is damaged")]

    good, narrow, damaged = embed_images(images, ["a.png", "b.png", "x"], NoNumbers())

    assert good.tolist() == [1.0, 0.0]
    assert (narrow.kind, narrow.message) == (
        "model_error",
        "lame returned values that are not finite for b.png",
    )
    assert damaged is images[2]


def test_an_encoder_is_not_called_without_images():
    assert embed_images([BadRecord("bad_image", "x")], ["x"], None)[0].kind == "bad_image"


def test_rounded_cosines_fit_a_record():
    assert rounded(1.0000001) == 1.0
    assert rounded(np.float32(0.123456)) == 0.1235
    assert str(rounded(-0.00001)) == "0.0"


@pytest.mark.parametrize("rows", [None, np.array([3, 1])])
def test_rows_must_have_length_1(monkeypatch, rows):
    monkeypatch.setattr("megastyle_cli.retrieval.embed.ROWS", 2)
    vectors = np.eye(5, dtype=np.float32)
    check_unit_rows(vectors, rows)
    vectors[3] *= 2

    with pytest.raises(MegastyleError, match="row 3 of the index has norm 2, not 1"):
        check_unit_rows(vectors, rows)
    check_unit_rows(vectors, np.array([0, 1]))
