"""The caption stage: what it adds to a record, what it keeps, and which records fail."""

import pytest

from megastyle_cli.captioning.caption import caption, with_description
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Failure
from megastyle_cli.core.style import StyleAttributes
from megastyle_cli.models.protocols import Description
from tests.conftest import draw
from tests.core.style_parser import parse_style
from tests.drawn_images import DrawnImages

STYLE = StyleAttributes(identity="ink wash", colors="black", light="from above")


class FakeCaptioner:
    """Describes every image alike, except those drawn from `bad_seed`."""

    name = "fake"

    def __init__(self, bad_seed=None):
        self.bad_image = None if bad_seed is None else draw(bad_seed)
        self.calls = []

    def describe(self, pictures, kind):
        self.calls.append((kind, len(pictures)))
        good = Description(
            style=None if kind == "content" else STYLE,
            content=None if kind == "style" else "Boat on a lake",
            confidence={"content": 0.98765},
        )
        bad = BadRecord("bad_answer", "no usable answer")
        return [bad if picture == self.bad_image else good for picture in pictures]


def captioned(records, captioner=None, kind="both"):
    captioner = captioner or FakeCaptioner()
    return list(caption(records, captioner, DrawnImages(), kind=kind, schema="v2", run="ab"))


def numbered(count):
    return [{"id": str(n), "file_name": str(n), "kept": n} for n in range(count)]


def test_style_attributes_content_and_provenance_are_added_and_other_keys_kept():
    (record,) = captioned(numbered(1))

    assert parse_style(record["style"]).identity == "ink wash"
    assert record["style_colors"] == "black" and "style_medium" not in record
    assert record["content"] == "Boat on a lake" and record["kept"] == 0
    assert record["_megastyle"]["caption"] == {
        "model": "fake",
        "run": "ab",
        "confidence": {"content": 0.99},
    }


@pytest.mark.parametrize(
    ("kind", "calls"),
    [
        ("both", {("style", 1), ("both", 2)}),
        ("style", {("style", 3)}),
        ("content", {("content", 2)}),
    ],
)
def test_a_content_in_the_record_is_kept_and_not_asked_for(kind, calls):
    first, labelled, last = numbered(3)
    captioner = FakeCaptioner()

    results = captioned([first, {**labelled, "content": "mine"}, last], captioner, kind)

    assert set(captioner.calls) == calls
    assert results[1]["content"] == "mine"
    assert [result["id"] for result in results] == ["0", "1", "2"]


def test_attributes_of_an_earlier_captioner_that_were_not_found_again_are_removed():
    (record,) = captioned([{**numbered(1)[0], "style_medium": "oil", "style_light": "dim"}])

    assert "style_medium" not in record and record["style_light"] == "from above"


def test_a_sentence_of_the_captioner_replaces_the_template():
    record = with_description({"id": "a"}, Description(sentence="In ink."), "v1", "m", "ab")

    assert record["style"] == "In ink."


def test_unreadable_and_undescribable_images_fail_and_the_others_do_not():
    records = [*numbered(3), {"id": "cut", "file_name": "cut.png"}, {"id": "none"}]

    results = captioned(records, FakeCaptioner(bad_seed=1))

    failures = {r.record["id"]: (r.kind, r.message) for r in results if isinstance(r, Failure)}
    assert failures == {
        "1": ("bad_answer", "1: no usable answer"),
        "cut": ("bad_image", "cut.png is damaged"),
        "none": ("missing_key", "record none has no file_name: it has no image"),
    }
    assert [r["id"] for r in results if not isinstance(r, Failure)] == ["0", "2"]
