"""Results on a terminal are known by their names, wrapped, and steer nothing."""

import pytest

from megastyle_cli.runner.console import heading, labelled


def test_a_record_is_known_by_its_file_name_then_its_text_then_its_id() -> None:
    assert heading({"id": "a", "file_name": "owl.jpg", "text": "ink"}, "text") == "owl.jpg\n"
    assert heading({"id": "a", "text": "ink\x1b[2J\n"}, "text") == "ink\\x1b[2J\\n\n"
    assert heading({"id": "a"}, "text") == "a\n" and heading({}) == "-\n"


def test_long_text_is_wrapped_under_its_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "41")

    text = labelled("style", "cut-paper collage, teal\nwith ochre\x1b accents", width=7)

    assert text == "  style    cut-paper collage, teal with\n           ochre\\x1b accents\n"
