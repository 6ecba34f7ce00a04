"""Captions by prompting a model: the schemas, the order of the questions, lost images."""

import json

import pytest

from megastyle_cli.captioning.prompted_captioner import PromptedCaptioner
from megastyle_cli.captioning.prompts import VERSION
from megastyle_cli.captioning.retry import RetryingClient
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.style import StyleAttributes
from tests.captioning.fakes import VALUES, FakeModel, answer_well, is_about_content, is_retry
from tests.chat_server import ATTRIBUTES, CONTENT, SENTENCE
from tests.conftest import draw

IMAGES = [draw(seed) for seed in range(5)]


def described(model, images, kind="both", schema="v2", attempts=3, per_attribute=False):
    client = RetryingClient(model, attempts)
    return PromptedCaptioner(client, schema, per_attribute=per_attribute).describe(images, kind)


def test_v2_gives_the_attributes_and_the_content():
    description, *_ = described(FakeModel(answer_well), IMAGES)

    assert description.style == StyleAttributes(**VALUES)
    assert description.sentence is None and description.content == CONTENT
    assert description.notes == {"instructions": VERSION, "attempts": 1}


def test_v1_gives_the_sentence_as_answered_and_no_attributes():
    description, *_ = described(FakeModel(answer_well), IMAGES, schema="v1", kind="style")

    assert description.sentence == SENTENCE
    assert description.style is None and description.content is None


def test_one_prompt_per_attribute_gives_the_same_as_one_for_all():
    model = FakeModel(answer_well)

    one_by_one = described(model, IMAGES, per_attribute=True)

    assert one_by_one == described(FakeModel(answer_well), IMAGES)
    assert len(model.prompts) == len(IMAGES) * (1 + len(ATTRIBUTES))


def test_an_attribute_without_a_valid_answer_loses_its_image_only():
    def fail_medium(prompt):
        is_lost = prompt.image == IMAGES[1] and "Give medium" in prompt.question
        return "digital art" if is_lost else answer_well(prompt)

    descriptions = described(FakeModel(fail_medium), IMAGES[:3], attempts=2, per_attribute=True)

    assert isinstance(descriptions[1], BadRecord) and descriptions[1].kind == "bad_answer"
    assert [descriptions[row].style.medium for row in (0, 2)] == ["layered paper"] * 2


@pytest.mark.parametrize(("kind", "count"), [("content", 5), ("style", 5), ("both", 10)])
def test_only_what_is_wanted_is_asked_for(kind, count):
    model = FakeModel(answer_well)

    described(model, IMAGES, kind=kind)

    assert len(model.prompts) == count


def test_the_style_of_an_image_without_content_is_not_asked_for():
    def fail_one_content(prompt):
        is_lost = is_about_content(prompt) and prompt.image == IMAGES[2]
        return "!!!!!!!!!!!!" if is_lost else answer_well(prompt)

    model = FakeModel(fail_one_content)
    descriptions = described(model, IMAGES, attempts=2)

    assert [isinstance(d, BadRecord) for d in descriptions] == [False, False, True, False, False]
    assert len(model.prompts) == 5 + 1 + 4


@pytest.mark.parametrize("schema", ["v1", "v2"])
def test_a_style_may_not_mention_the_content_of_its_own_image(schema):
    def mention_it(prompt):
        if is_about_content(prompt):
            return "Lighthouse stands near a rocky shore"
        if is_retry(prompt):
            return answer_well(prompt)
        if schema == "v1":
            return SENTENCE.replace("wide", "lighthouse")
        return json.dumps({**ATTRIBUTES, "medium": "lighthouse paper"})

    (description,) = described(FakeModel(mention_it), IMAGES[:1], schema=schema)

    assert description.notes["attempts"] == 2
    assert (description.sentence or description.style.medium) in (SENTENCE, "layered paper")
