"""A parent gives a pair its text, image, unknown keys and provenance; it has a text or image."""

import pytest

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.pair.halves import (
    CONTENT_KEYS,
    STYLE_KEYS,
    check_content,
    check_style,
    content_half,
    style_half,
)

PARENT = {
    "id": "a",
    "file_name": "a.png",
    "style": "ink",
    "content": "a fox",
    "style_medium": "ink",
    "style_colors": "teal",
    "style_light": None,
    "license": "cc0",
    "_megastyle": {"caption": {"run": "1"}},
}


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (check_style, [{"style": "x"}, {"file_name": "x"}], [{}, {"style": " "}, {"style": 3}]),
        (check_content, [{"content": "x"}, {"file_name": "x"}], [{}, {"content": None}]),
    ],
)
def test_a_parent_needs_a_text_or_an_image(check, good, bad):
    for record in good:
        check(record)
    for record in bad:
        with pytest.raises(BadRecord) as caught:
            check(record)
        assert caught.value.kind == "missing_key"


@pytest.mark.parametrize(
    ("check", "keys"), [(check_style, STYLE_KEYS), (check_content, CONTENT_KEYS)]
)
def test_a_text_under_any_of_the_keys_is_enough(check, keys):
    for key in keys:
        check({"id": "a", key: "x"})


def test_a_style_gives_its_attributes_in_their_order_and_none_that_is_null():
    half = style_half(PARENT)

    assert half.text == {"style": "ink"}
    assert list(half.more) == ["style_colors", "style_medium", "style_file_name"]
    assert half.unknown == {"license": "cc0"}
    assert half.provenance == {"style": {"caption": {"run": "1"}}}


def test_a_content_gives_its_unknown_keys_with_a_prefix():
    half = content_half(PARENT)

    assert half.text == {"content": "a fox"}
    assert half.more == {"content_file_name": "a.png"}
    assert half.unknown == {"content_license": "cc0"}
    assert half.provenance == {"content": {"caption": {"run": "1"}}}


def test_the_own_image_comes_before_that_of_an_earlier_pair():
    pair = {"id": "a", "file_name": " ", "style_file_name": "s.png", "content_file_name": "c.png"}

    assert style_half(pair).more == {"style_file_name": "s.png"}
    assert content_half(pair).more == {"content_file_name": "c.png"}
    assert style_half({**pair, "file_name": "own.png"}).more == {"style_file_name": "own.png"}
