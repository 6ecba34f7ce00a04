"""The synth stage: what the painter is asked for, per record."""

import pytest

from megastyle_cli.core.record import Failure, record_seed
from megastyle_cli.generate.synth import synth
from megastyle_cli.models.protocols import PictureRequest
from tests.conftest import draw
from tests.drawn_images import DrawnImages
from tests.generate.fakes import FakePainter, MemoryStore

PAIR = {
    "id": "s1_c2",
    "content": "A fox",
    "style": "In ink.",
    "content_file_name": "1",
    "style_file_name": "2",
}


def synthesized(records, painter, **changes):
    options = {
        "content_reader": DrawnImages(),
        "style_reader": DrawnImages(),
        "template": PictureRequest(long_side=64, strength=0.5, seed=7),
        "run": "ab",
        "settings": {"steps": 2},
        **changes,
    }
    return list(synth(records, painter, MemoryStore(), **options))


def test_the_painter_gets_texts_images_and_the_seed_of_the_record():
    painter = FakePainter()

    (record,) = synthesized([PAIR], painter)

    (request,) = painter.requests
    assert (request.content, request.style) == ("A fox", "In ink.")
    assert request.content_picture == draw(1) and request.references == (draw(2),)
    assert (request.reference_keys, request.weights) == (("2",), (1.0,))
    assert (request.long_side, request.size_px, request.strength) == (64, None, 0.5)
    assert request.seed == record["seed"] == record_seed(7, "s1_c2")
    assert record["_megastyle"]["synth"] == {"model": "fake", "run": "ab", "steps": 2}


def test_without_readers_only_texts_are_used():
    painter = FakePainter()

    synthesized([PAIR], painter, content_reader=None, style_reader=None)

    assert painter.requests[0].content_picture is None and painter.requests[0].references == ()


@pytest.mark.parametrize(("requires_style", "fails"), [(False, False), (True, True)])
def test_a_missing_style_image_fails_only_if_it_is_required(requires_style, fails):
    text_pair = {"id": "a", "content": "A fox", "style": "In ink."}

    (result,) = synthesized([text_pair], FakePainter(), requires_style=requires_style)

    assert isinstance(result, Failure) == fails


@pytest.mark.parametrize("key", ["content_file_name", "style_file_name"])
def test_an_image_that_cannot_be_read_fails_its_record_alone(key):
    painter = FakePainter()

    bad, good = synthesized([{**PAIR, key: "cut.png"}, PAIR], painter)

    assert (bad.kind, bad.message) == ("bad_image", "cut.png is damaged")
    assert good["file_name"] == "s1_c2.png" and len(painter.requests) == 1


def test_records_are_independent_of_their_batch():
    records = [{**PAIR, "id": f"s1_c{n}", "content_file_name": str(n)} for n in range(5)]

    together = synthesized(records, FakePainter())

    assert together == [synthesized([record], FakePainter())[0] for record in records]
