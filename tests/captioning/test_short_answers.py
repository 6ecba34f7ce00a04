"""Short answers of a model: lists of objects, yes and no."""

import json

import pytest

from megastyle_cli.captioning.short_answers import object_name, parse_objects, parse_yes_no
from megastyle_cli.captioning.validate import InvalidAnswer


def test_objects_are_in_lower_case_and_singular_each_once():
    names = ["A Fox", "foxes", "stone benches", "the KIMONOS", "glass", "ponies"]
    answer = json.dumps({"objects": names})

    found = parse_objects(f"```json\n{answer}\n```")

    assert found == ["fox", "stone bench", "kimono", "glass", "pony"]


def test_a_long_description_is_no_object():
    answer = '{"objects": ["a man who walks his dog at night", "dog"]}'

    assert parse_objects(answer) == ["dog"]


@pytest.mark.parametrize("answer", ["{}", '{"objects": "fox"}', '{"objects": [1]}', "a fox", ""])
def test_an_answer_without_a_list_is_invalid(answer):
    with pytest.raises(InvalidAnswer):
        parse_objects(answer)


@pytest.mark.parametrize(
    ("answer", "is_yes"),
    [
        *(("yes", True), ("Yes.", True), ("**No**", False), ("Answer: no", False)),
        ("<think>is it? no</think>Yes, a kimono.", True),
    ],
)
def test_yes_and_no_are_understood(answer, is_yes):
    assert parse_yes_no(answer) is is_yes


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("perhaps", "form"),
        ("yes or no", "form"),
        ("I'm sorry, I can't see it", "refusal"),
        ("", "empty"),
    ],
)
def test_an_answer_that_is_neither_is_invalid(answer, kind):
    with pytest.raises(InvalidAnswer) as invalid:
        parse_yes_no(answer)

    assert invalid.value.errors[0].kind == kind


def test_the_name_of_an_object_has_no_article():
    assert object_name(" Some  Wooden Shoes, ") == "wooden shoe"
