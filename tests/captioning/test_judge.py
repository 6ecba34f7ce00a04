"""Judged captions: verdicts go into the provenance, shares into the counts."""

import json

import pytest

from megastyle_cli.captioning.judge import JudgeCounts, judge
from megastyle_cli.captioning.prompts import VERSION
from megastyle_cli.captioning.retry import RetryingClient
from megastyle_cli.core.record import Failure
from tests.captioning.fakes import FakeModel
from tests.drawn_images import DrawnImages

ATTRIBUTED = {
    "id": "a",
    "file_name": "1",
    "style": "In the style of ink.",
    "style_identity": "ink",
    "style_light": "diffused",
    "content": "Boat",
}
WHOLE = {"id": "b", "file_name": "2", "style": "In the style of ink, diffused."}


def judged(records, counts=None, vague=()):
    """The results of a judge that finds everything relevant, and `vague` what is listed."""

    def respond(prompt):
        lines = [line[2:] for line in prompt.question.splitlines() if line.startswith("- ")]
        found = (line.partition(": ") for line in lines)
        return json.dumps(
            {name: {"relevant": True, "vague": value in vague} for name, _, value in found}
        )

    client = RetryingClient(FakeModel(respond), attempts=1)
    return list(judge(records, client, DrawnImages(), counts or JudgeCounts(), run="ab"))


def test_each_attribute_and_the_content_get_both_verdicts():
    (record,) = judged([ATTRIBUTED], vague=["diffused"])

    note = record["_megastyle"]["judge"]
    assert note["relevant"] == {"identity": True, "light": True, "content": True}
    assert note["vague"] == {"identity": False, "light": True, "content": False}
    assert (note["model"], note["run"], note["instructions"]) == ("fake", "ab", VERSION)
    assert {key: value for key, value in record.items() if key != "_megastyle"} == ATTRIBUTED


def test_a_style_without_attributes_is_judged_as_one():
    (record,) = judged([WHOLE])

    assert record["_megastyle"]["judge"]["relevant"] == {"style": True}


def test_shares_are_over_all_records():
    counts = JudgeCounts()
    judged(
        [ATTRIBUTED, {**ATTRIBUTED, "id": "c", "style_light": "from the left"}],
        counts,
        ["diffused"],
    )

    assert counts.shares()["light"] == {"judged": 2, "relevant": 1.0, "vague": 0.5}
    assert counts.remarks()[0].endswith("light 100.0% relevant 50.0% vague")


def test_nothing_judged_is_no_remark():
    assert JudgeCounts().shares() == {} and JudgeCounts().remarks() == []


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ({"id": "a", "file_name": "1"}, "missing_key"),
        ({"id": "a", "style": "ink"}, "missing_key"),
        ({"id": "a", "file_name": "cut.png", "style": "ink"}, "bad_image"),
    ],
)
def test_a_record_that_cannot_be_judged_fails_alone(record, kind):
    bad, good = judged([record, WHOLE])

    assert isinstance(bad, Failure) and bad.kind == kind
    assert good["id"] == "b"


def test_a_judge_without_a_valid_answer_is_a_failure_that_names_the_file():
    client = RetryingClient(FakeModel(lambda prompt: "{}"), attempts=2)
    counts = JudgeCounts()

    (failure,) = judge([WHOLE], client, DrawnImages(), counts, run="ab")

    assert failure.kind == "bad_answer" and failure.message.startswith("2: no valid answer in 2")
    assert counts.shares() == {}
