"""The transfer stage: which references and which content the stylist gets, per record."""

import pytest

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.generate.transfer import transfer, weighted_references
from megastyle_cli.models.protocols import Description, PictureRequest
from tests.conftest import draw
from tests.drawn_images import DrawnImages
from tests.generate.fakes import FakePainter, MemoryStore


class NamesImages:
    """A captioner that recognises only what is drawn from seeds 1 and 2."""

    name = "names"

    def __init__(self):
        self.num_described = 0

    def describe(self, pictures, kind):
        assert kind == "content"
        self.num_described += len(pictures)
        contents = {draw(1).tobytes(): "one", draw(2).tobytes(): "two"}
        return [Description(content=contents.get(picture.tobytes())) for picture in pictures]


def transferred(records, stylist, names=("8",), weights=(), **changes):
    options = {
        "references": weighted_references(names, weights),
        "content_reader": DrawnImages(),
        "style_reader": DrawnImages(),
        "starts_from_image": True,
        "captioner": None,
        "template": PictureRequest(long_side=64, strength=0.5, seed=7),
        "run": "ab",
        "settings": {},
        **changes,
    }
    return list(transfer(records, stylist, MemoryStore(), **options))


def test_the_references_of_the_run_are_mixed_and_the_heaviest_is_recorded():
    stylist = FakePainter()

    (record,) = transferred([{"id": "a", "file_name": "1"}], stylist, ("8", "9"), (1, 3))

    (request,) = stylist.requests
    assert request.references == (draw(8), draw(9)) and request.weights == (0.25, 0.75)
    assert request.reference_keys == ("8", "9")
    assert record["style_file_name"] == "9" and record["content_file_name"] == "1"
    assert record["file_name"] == "a.png"
    assert record["_megastyle"]["transfer"] == {"model": "fake", "run": "ab", "strength": 0.5}


def test_the_reference_of_a_record_takes_precedence():
    stylist = FakePainter()

    transferred([{"id": "a", "file_name": "1", "style_file_name": "5"}], stylist)

    assert stylist.requests[0].references == (draw(5),) and stylist.requests[0].weights == (1.0,)


def test_content_file_name_takes_precedence_over_file_name():
    stylist = FakePainter()

    (record,) = transferred([{"id": "a", "file_name": "1", "content_file_name": "3"}], stylist)

    assert stylist.requests[0].content_picture == draw(3)
    assert record["content_file_name"] == "3"


def test_text_comes_from_the_record_else_from_the_captioner():
    records = [
        {"id": "own", "content": "a fox", "file_name": "1"},
        {"id": "seen", "file_name": "2"},
        {"id": "unknown", "file_name": "3"},
        {"id": "nothing"},
    ]
    stylist, captioner, reader = FakePainter(), NamesImages(), DrawnImages()

    own, seen, unknown, nothing = transferred(
        records, stylist, captioner=captioner, starts_from_image=False, content_reader=reader
    )

    assert [request.content for request in stylist.requests] == ["a fox", "two"]
    assert own["content"] == "a fox" and seen["content"] == "two"
    assert seen["_megastyle"]["caption"]["model"] == "names"
    assert "what 3 shows was not recognized" in unknown.message
    assert "neither content nor a content image" in nothing.message
    assert reader.names == ["2", "3"] and captioner.num_described == 2


def test_a_stylist_that_needs_no_text_is_not_given_a_caption():
    stylist = FakePainter()

    (record,) = transferred([{"id": "a", "file_name": "1"}], stylist)

    assert stylist.requests[0].content is None and "content" not in record


@pytest.mark.parametrize(
    ("record", "kind", "words"),
    [
        ({"file_name": "cut.png"}, "bad_image", "cut.png is damaged"),
        ({"file_name": "1", "style_file_name": "cut.png"}, "bad_image", "cut.png is damaged"),
        ({"file_name": "1", "style_file_name": ["a", "b"]}, "missing_key", "repeat --style"),
        ({"file_name": "1", "content": 7}, "missing_key", "has content 7, not text"),
    ],
)
def test_a_bad_record_fails_alone(record, kind, words):
    stylist = FakePainter()

    bad, good = transferred([{"id": "a", **record}, {"id": "b", "file_name": "1"}], stylist)

    assert isinstance(bad, Failure) and bad.kind == kind and words in bad.message
    assert good["id"] == "b" and len(stylist.requests) == 1


def test_without_any_reference_a_record_fails():
    (failure,) = transferred([{"id": "a", "file_name": "1"}], FakePainter(), names=())

    assert failure.message == "record a has no style_file_name: give --style"


def test_an_image_that_the_captioner_fails_on_is_not_recognised():
    class Fails(NamesImages):
        def describe(self, pictures, kind):
            return [BadRecord("model_error", "no answer") for _ in pictures]

    (failure,) = transferred([{"id": "a", "file_name": "1"}], FakePainter(), captioner=Fails())

    assert "what 1 shows was not recognized" in failure.message


def test_weights_are_scaled_to_sum_to_one_and_equal_by_default():
    assert weighted_references(("a", "b"), (1, 3)).weights == (0.25, 0.75)
    assert weighted_references(("a", "b", "c", "d"), ()).weights == (0.25,) * 4
    assert weighted_references((), ()).names == ()


@pytest.mark.parametrize(
    ("weights", "words"),
    [((1.0,), "2 styles but 1 weights"), ((0.0, 0.0), "sum to 0")],
)
def test_weights_that_fit_no_reference_are_refused(weights, words):
    with pytest.raises(MegastyleError, match=words):
        weighted_references(("a", "b"), weights)


def test_a_failure_is_the_record_as_it_was_read():
    given = {"id": "a", "file_name": "8", "style_file_name": ["1", "2"]}

    (failure,) = transferred([given], FakePainter())

    assert failure.record == given
