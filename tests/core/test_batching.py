"""Portions hold every text once, in order, and end by number or by letters."""

from megastyle_cli.core.batching import portions


def test_portions_end_by_number_or_by_letters() -> None:
    texts = ["a", "bb", "ccc", "d" * 9, "", "e", "f"]

    found = list(portions(texts, 3, letters=5))

    assert found == [["a", "bb", "ccc"], ["d" * 9], ["", "e", "f"]]
    assert list(portions([], 3)) == []
