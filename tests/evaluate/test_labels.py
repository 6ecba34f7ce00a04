"""Labels as tables write them."""

import pytest

from megastyle_cli.evaluate.labels import label_of


@pytest.mark.parametrize("value", [1, "1", 1.0, True])
def test_one_label_in_several_types_is_one_label(value: object) -> None:
    assert label_of({"style_id": value}, "style_id") == "1"


@pytest.mark.parametrize("value", [None, "", "  ", float("nan")])
def test_what_is_blank_is_no_label(value: object) -> None:
    assert label_of({"style_id": value}, "style_id") is None
    assert label_of({}, "style_id") is None
