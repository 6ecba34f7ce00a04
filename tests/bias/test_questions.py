"""Every question names its object, and yes and no are asked for in both orders."""

from PIL import Image

from megastyle_cli.bias.questions import OBJECTS, PRESENT

IMAGE = Image.new("RGB", (8, 8))


def test_yes_and_no_are_asked_for_in_both_orders():
    questions = [each.about(IMAGE, thing="stone bench").question for each in PRESENT]

    assert all("stone bench" in question for question in questions)
    assert ["yes or no" in question for question in questions] == [True, False]
    assert ["no or yes" in question for question in questions] == [False, True]
    assert PRESENT[0].instruction == PRESENT[1].instruction  # a server computes it once


def test_the_list_is_asked_for_without_naming_any_style():
    assert '{"objects": [' in OBJECTS.about(IMAGE).instruction
