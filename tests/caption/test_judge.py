"""Judged captions: verdicts go into the provenance, shares into the counts."""

import json

import pytest

from megastyle_cli.caption.judge import JudgeCounts, judge
from megastyle_cli.caption.retry import RetryingClient
from megastyle_cli.core.record import Failure
from tests.conftest import draw


class Judge:
    """Calls everything relevant, and vague what it is told to call so."""

    name, num_threads, batch_size = "judge", 1, 8

    def __init__(self, vague):
        self.vague = vague

    def generate(self, questions):
        return [
            json.dumps(
                {
                    line[2:].partition(":")[0]: {
                        "relevant": True,
                        "vague": line.partition(": ")[2] in self.vague,
                    }
                    for line in question.question.splitlines()
                    if line.startswith("- ")
                }
            )
            for question in questions
        ]


def judged(records, counts=None, vague=()):
    client = RetryingClient(Judge(vague), attempts=1)
    counts = counts or JudgeCounts()
    read = lambda names: [draw(len(name)) for name in names]  # noqa: E731
    return list(judge(records, client=client, read=read, counts=counts, run="ab"))


ATTRIBUTED = {
    "id": "a",
    "file_name": "a.png",
    "style": "In the style of ink.",
    "style_identity": "ink",
    "style_light": "diffused",
    "content": "Boat",
}
WHOLE = {"id": "b", "file_name": "b.png", "style": "In the style of ink, diffused."}


def test_each_attribute_and_the_content_get_both_verdicts():
    (told,) = judged([ATTRIBUTED], vague=["diffused"])

    note = told["_megastyle"]["judge"]
    assert note["relevant"] == {"identity": True, "light": True, "content": True}
    assert note["vague"] == {"identity": False, "light": True, "content": False}
    assert {key: value for key, value in told.items() if key != "_megastyle"} == ATTRIBUTED


def test_a_style_without_attributes_is_judged_whole():
    (told,) = judged([WHOLE])

    assert told["_megastyle"]["judge"]["relevant"] == {"style": True}


def test_shares_are_over_all_records():
    counts = JudgeCounts()
    judged(
        [ATTRIBUTED, {**ATTRIBUTED, "id": "c", "style_light": "from the left"}],
        counts,
        ["diffused"],
    )

    assert counts.shares()["light"] == {"judged": 2, "relevant": 1.0, "vague": 0.5}


@pytest.mark.parametrize("record", [{"id": "a", "file_name": "a.png"}, {"id": "a", "style": "ink"}])
def test_a_record_that_cannot_be_judged_fails_alone(record):
    good, bad = judged([WHOLE, record])

    assert isinstance(bad, Failure) and bad.kind == "missing_key"
    assert good["id"] == "b"
