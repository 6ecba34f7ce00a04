"""Images and references of a run by one model, whatever scores the records have already."""

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.evaluate.score import STYLE
from megastyle_cli.models.registry import load
from megastyle_cli.paper_protocols.encoded_set import compared, encode
from tests.conftest import draw

GIVEN = {"has_weights": False, "label": "style_id", "others": (), "pair_by": None}


@pytest.fixture
def record(tmp_path):
    for number in range(2):
        draw(number).save(tmp_path / f"{number}.png")
    return {"id": "a", "file_name": str(tmp_path / "0.png")}


def test_scores_of_an_earlier_run_are_not_used(record, tmp_path):
    edges = load("style_encoder", "edges")
    scored = {
        **record,
        "style_file_name": str(tmp_path / "1.png"),
        "style_score": 0.5,
        "_megastyle": {"eval": {"model": edges.name}},
    }

    images, failures = encode([scored], edges, references=(), **GIVEN)

    assert failures == [] and len(compared(images).rows) == 1
    assert images.values("style_score")[0] != 0.5


def test_given_references_are_those_of_all_images(record, tmp_path):
    edges = load("style_encoder", "edges")
    reference = {"id": "r", "file_name": str(tmp_path / "1.png")}

    images, _ = encode([record], edges, references=[reference], **GIVEN)

    assert compared(images).bank.vectors.shape == (1, images.vectors(STYLE).shape[1])


def test_an_image_that_does_not_open_is_a_failure(record, tmp_path):
    lost = {"id": "b", "file_name": str(tmp_path / "lost.png")}

    images, (failure,) = encode(
        [record, lost], load("style_encoder", "edges"), references=(), **GIVEN
    )

    assert failure.record["id"] == "b" and len(images.scored) == 1
    with pytest.raises(MegastyleError, match="no image has a reference"):
        compared(images)
