"""Portions hold every text once, in order, and end by number or by letters."""

from megastyle_cli.core.batching import text_batches


def test_portions_end_by_number_or_by_letters() -> None:
    texts = ["a", "bb", "ccc", "d" * 9, "", "e", "f"]

    found = list(text_batches(texts, 3, max_characters=5))

    assert found == [["a", "bb", "ccc"], ["d" * 9], ["", "e", "f"]]
    assert list(text_batches([], 3)) == []
