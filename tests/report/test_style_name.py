"""A style is called by the first of its names that people can read."""

import pytest

from megastyle_cli.report.style_name import is_readable, style_name

HEX = "b54b5beb969b0e1f"
PROMPT = "With dark outlines. In the style of muted outlined graphic, beige."


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"style_file_name": "styles/great-wave.jpg", "style_identity": "print"}, "great-wave"),
        ({"style_file_name": f"{HEX}.png", "style_identity": "ink wash"}, "ink wash"),
        ({"style_file_name": "synth.tar#0001.png", "style_identity": "ink wash"}, "ink wash"),
        ({"style_file_name": "00017.png", "style": PROMPT}, "muted outlined graphic"),
        ({"file_name": "styles/acanthus.jpg", "style": PROMPT}, "acanthus"),
        ({"file_name": "owl.png", "style_id": HEX, "style": PROMPT}, "muted outlined graphic"),
        ({"style": "one two three four five six"}, "one two three four five"),
        ({"style_id": HEX, "id": f"s{HEX}_c1"}, HEX),
        ({"style_identity": 7, "style": None}, "untitled"),
    ],
)
def test_the_first_readable_name_is_used(record, name):
    assert style_name(record) == name


def test_a_label_is_the_name_unless_it_is_an_id():
    record = {"style_file_name": "great-wave.jpg"}

    assert [style_name(record, label) for label in ("Hokusai", HEX)] == ["Hokusai", "great-wave"]


def test_hashes_and_numbers_are_not_readable():
    assert not any(map(is_readable, (HEX, f"s{HEX}_c{HEX}", "0001", "12_3", "")))
    assert all(map(is_readable, ("a", "great-wave", "IMG_2231", "deadwood", "\u6d6a")))
