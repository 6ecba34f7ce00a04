"""A text that shows nothing is blank, in any script; the first letter makes it a text."""

import pytest

from megastyle_cli.core.record import is_blank


@pytest.mark.parametrize("text", ["", "  ", "\t\r\n", "\u200b", " \u200d\ufeff\u2060 ", "\u3000"])
def test_a_text_that_shows_nothing_is_blank(text: str) -> None:
    assert is_blank(text)


def test_white_space_is_that_of_the_language() -> None:
    spaces = [chr(point) for point in range(0x10000) if chr(point).isspace()]

    assert len(spaces) > 20 and all(map(is_blank, spaces))


@pytest.mark.parametrize("text", [" a", "\u200b.", "\u6c34", "\u3042", "\U0001f3a8", "\ud800", "0"])
def test_one_character_makes_a_text(text: str) -> None:
    assert not is_blank(text)
