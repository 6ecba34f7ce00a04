"""Prompts: they ask for what validation checks, and --show-instructions prints all of them."""

import re

import pytest

from megastyle_cli.captioning import prompts, validate
from megastyle_cli.core.style import ATTRIBUTES
from tests.conftest import draw


@pytest.mark.parametrize("name", sorted(set(ATTRIBUTES) - {"edges"}))
def test_the_word_limit_a_prompt_states_is_the_one_that_is_checked(name):
    (stated,) = re.findall(r"at\s+most (\d+) words", ATTRIBUTES[name].description)

    assert int(stated) == ATTRIBUTES[name].max_words


def test_the_lengths_that_prompts_state_are_those_that_are_checked():
    fewest, most = validate.SENTENCE_WORDS
    assert f"at least {fewest}, at most {most}" in prompts.STYLE_SENTENCE.instruction
    fewest, most = validate.CONTENT_WORDS
    assert f"{fewest} to {most} words" in prompts.CONTENT.instruction


def test_a_prompt_fills_its_placeholders_and_keeps_the_instruction():
    prompt = prompts.ONE_ATTRIBUTE.about(draw(1), name="light", description="where it is from")

    assert prompt.question == ("Give light: where it is from. Write the value, and nothing else.")
    assert prompt.instruction == prompts.ONE_ATTRIBUTE.instruction
    assert prompt.max_tokens == prompts.ONE_ATTRIBUTE.max_tokens


def test_braces_in_a_description_are_left_alone():
    prompt = prompts.JUDGE.about(draw(1), described='- style: {"a": 1}')

    assert '- style: {"a": 1}' in prompt.question


def test_the_instructions_shown_hold_every_prompt():
    shown = prompts.instructions_text()

    templates = [
        value for value in vars(prompts).values() if isinstance(value, prompts.PromptTemplate)
    ]
    assert len(templates) == 5
    for template in templates:
        assert template.instruction in shown and template.question in shown
    assert prompts.RETRY in shown and f"version {prompts.VERSION}" in shown
