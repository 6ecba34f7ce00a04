"""Answers of a model: what is used, what is refused, and why."""

import json

import pytest

from megastyle_cli.captioning.validate import (
    InvalidAnswer,
    parse_attribute,
    parse_attributes,
    parse_content,
    parse_style_sentence,
    parse_verdicts,
)
from megastyle_cli.core.style import COLORS, StyleAttributes, style_sentence
from tests.chat_server import ATTRIBUTES, CONTENT, SENTENCE


def kinds(raised):
    return {error.kind for error in raised.value.errors}


@pytest.mark.parametrize(
    "answer",
    [
        CONTENT,
        "Man smiles holding vertical smartphone",
        "Fishing vessel navigates rough seas with birds",
        "Café table stands beside an open window",
    ],
)
def test_a_content_of_five_to_ten_words_is_used_as_it_is(answer):
    assert parse_content(answer) == answer


@pytest.mark.parametrize(
    "wrapped",
    [f'"{CONTENT}."', f"```\n{CONTENT}\n```", f"<think>Hmm. A cat?</think>\n\n**{CONTENT}**"],
)
def test_wrappings_of_an_answer_are_taken_off(wrapped):
    assert parse_content(wrapped) == CONTENT


@pytest.mark.parametrize(
    "answer",
    [
        f"<|begin_of_box|>{CONTENT}<|end_of_box|>",
        f"The answer is <|begin_of_box|>{CONTENT}<|end_of_box|>.",
        f"{CONTENT}<|im_end|>\n<|endoftext|>",
        f"<s>{CONTENT}</s>",
        f"{CONTENT}<\uff5cend\u2581of\u2581sentence\uff5c>",
        f"<|channel|>analysis<|message|>Shapes.<|end|><|channel|>final<|message|>{CONTENT}<|return|>",
        f"Content: {CONTENT}",
        f'**Content phrase:** "{CONTENT}"',
        CONTENT.replace(" ", " \u200b", 1) + "\ud83c\ufeff",
        CONTENT.replace(" ", "\u00a0") + "\u2028",
    ],
)
def test_control_tokens_labels_and_invisible_characters_are_taken_off(answer):
    assert parse_content(answer) == CONTENT


def test_a_label_before_an_attribute_is_taken_off():
    assert parse_attribute("colors", "Colors: teal and ivory<|im_end|>") == "teal and ivory"


def test_a_huge_answer_is_refused_before_it_is_checked():
    with pytest.raises(InvalidAnswer, match="characters"):
        parse_content("a boat " * 1_500_000)


@pytest.mark.parametrize(
    "answer, kind",
    [
        ("<think>A cat sits on a red sofa", "garbage"),
        ("Three flat shapes<|im_end|> overlap near corner", "garbage"),
        ("Three flat shapes \x1b[31m overlap near corner", "garbage"),
        ("My view: three flat shapes overlap", "form"),
        ("", "empty"),
        ("<think>still thinking</think>", "empty"),
        ("!!!!!!!!!!!!!!!!!!!!", "garbage"),
        ("Three flat shapes !!!!!!!!! overlap near", "garbage"),
        ("\ufffd\ufffdj\x12 qq zz aa bb cc", "garbage"),
        ("{}[]{}[] ;; :: {}[] ;; :: {}", "garbage"),
        ("I'm sorry, but I can't help with that picture", "refusal"),
        ("I\u2019m sorry, I cannot describe this picture", "refusal"),
        ("As an AI model I have no eyes for this", "refusal"),
        ("\u4e00\u53ea\u732b\u5750\u5728\u7a97\u8fb9\u770b\u98ce\u666f", "language"),
        ("Ein Mann sitzt mit der Katze auf dem Sofa", "language"),
        ("Una mujer con el gato en la casa", "language"),
        ("boat boat boat boat on the water", "repetition"),
        ("a red boat on a red boat on", "repetition"),
        ("Cat sleeps", "word_limit"),
        ("One two three four five six seven eight nine ten eleven", "word_limit"),
        ("Watercolor painting of a boat on rough sea", "style_in_content"),
    ],
)
def test_a_bad_content_is_refused_for_its_reason(answer, kind):
    with pytest.raises(InvalidAnswer) as raised:
        parse_content(answer)

    assert kind in kinds(raised)


def test_a_style_sentence_is_used_as_it_is():
    assert parse_style_sentence(SENTENCE, CONTENT) == SENTENCE


@pytest.mark.parametrize(
    "change, kind",
    [
        (lambda sentence: sentence.replace("In the style of", "A"), "form"),
        (lambda sentence: sentence.replace("matte", "beautiful"), "vague"),
        (lambda sentence: sentence.replace("matte paper", "paper cats"), "content_in_style"),
        (lambda sentence: sentence.replace("matte", "vessel"), "content_in_style"),
        (lambda sentence: " ".join(sentence.split()[:12]), "word_limit"),
        (
            lambda sentence: f"{sentence} One two three four five six seven eight nine ten eleven",
            "word_limit",
        ),
        (lambda sentence: "", "empty"),
    ],
)
def test_a_bad_style_sentence_is_refused_for_its_reason(change, kind):
    with pytest.raises(InvalidAnswer) as raised:
        parse_style_sentence(change(SENTENCE), "Fishing vessel navigates rough seas with birds")

    assert kind in kinds(raised)


@pytest.mark.parametrize(
    "value", ["no gradient and no shadow", "from the upper to the lower left", "soft from above"]
)
def test_plain_words_are_no_fault(value):
    assert parse_attribute("light", value) == value


def test_small_words_may_come_again():
    twice = SENTENCE.replace("layered matte paper", "dark at the upper left, layered paper")

    assert parse_style_sentence(twice) == twice


def test_the_words_of_a_content_that_tell_its_form_may_stand_in_the_style():
    content = "Woman holding large paper lantern over dark water"

    assert parse_style_sentence(SENTENCE, content) == SENTENCE


@pytest.mark.parametrize(
    "wrap", ["{}", "```json\n{}\n```", "Here it is:\n{}\nI hope it helps.", "<think>{{</think>{}"]
)
def test_attributes_are_read_from_json_whatever_stands_around_it(wrap):
    seen = parse_attributes(wrap.format(json.dumps(ATTRIBUTES)))

    assert seen == StyleAttributes(
        **{name: value for name, value in ATTRIBUTES.items() if value != "N/A"}
    )
    assert style_sentence(seen).startswith("With thin black. In the style of cut-paper collage")


@pytest.mark.parametrize("answer", ['{"identity": "ink"', "identity: ink", "{'a': 'b'}"])
def test_json_that_is_broken_is_refused(answer):
    with pytest.raises(InvalidAnswer) as raised:
        parse_attributes(answer)

    assert kinds(raised) == {"broken_json"}


@pytest.mark.parametrize(
    "name, value, kind",
    [
        ("identity", "N/A", "empty"),
        ("colors", None, "empty"),
        ("identity", "a very long name of style", "word_limit"),
        ("identity", "digital art", "vague"),
        ("identity", "cat portrait", "content_in_style"),
        ("light", "diffused", "vague"),
        ("light", "warm from the left", "vague"),
        ("pattern", "stripes, dots", "form"),
        ("surface", "intricate detailed grain", "vague"),
        ("edges", "blurry", "form"),
        ("medium", "digital rendering", "vague"),
        ("medium", "!!!!!!!!", "garbage"),
        ("brushwork", "lapse de la main et du bois", "language"),
    ],
)
def test_a_bad_attribute_is_refused_for_its_reason_and_named(name, value, kind):
    with pytest.raises(InvalidAnswer, match=f"{name}: ") as raised:
        parse_attributes(json.dumps({**ATTRIBUTES, name: value}))

    assert kind in kinds(raised)


def test_all_bad_attributes_are_told_at_once():
    with pytest.raises(InvalidAnswer) as raised:
        parse_attributes(json.dumps({**ATTRIBUTES, "edges": "blurry", "light": "diffused"}))

    assert kinds(raised) == {"form", "vague"}


@pytest.mark.parametrize("absent", ["N/A", "n/a.", "None", "", "not visible"])
def test_what_cannot_be_told_is_absent(absent):
    assert parse_attribute("pattern", absent) is None


@pytest.mark.parametrize(
    "name, answer, value",
    [
        ("medium", "In layered paper.", "layered paper"),
        ("identity", "In the style of ukiyo-e print", "ukiyo-e print"),
        ("outline", "with thin black outlines", "thin black outlines"),
    ],
)
def test_the_template_around_a_slot_is_not_said_twice(name, answer, value):
    assert parse_attribute(name, answer) == value


@pytest.mark.parametrize("color", COLORS)
def test_every_color_name_may_stand_in_a_style(color):
    assert parse_attribute("colors", color) == color


def test_verdicts_are_read_for_exactly_the_names_asked():
    answer = '{"light": {"relevant": true, "vague": true}, "more": 1}'

    assert parse_verdicts(answer, ["light"]) == {"light": (True, True)}
    with pytest.raises(InvalidAnswer, match="medium"):
        parse_verdicts(answer, ["light", "medium"])


@pytest.mark.parametrize("claim", ['"yes"', "1", "null", '{"relevant": true}'])
def test_verdicts_that_are_no_booleans_are_refused(claim):
    with pytest.raises(InvalidAnswer):
        parse_verdicts(f'{{"light": {claim}}}', ["light"])
