"""The size limit of one item: how it is given, and what is said about a larger item."""

import pytest

from megastyle_cli.core import limits
from megastyle_cli.core.errors import MegastyleError


@pytest.fixture(autouse=True)
def _default_afterwards():
    yield
    limits.set_max_item_size(limits.DEFAULT_MAX_ITEM_SIZE)


@pytest.mark.parametrize(
    ("text", "size"),
    [("512M", 2**29), ("1.5g", 3 * 2**29), ("2GiB", 2**31), ("64 KB", 2**16), ("4096", 4096)],
)
def test_a_size_is_bytes_or_has_a_unit(text, size):
    assert limits.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "M", "many", "1e9", "512MM", "nan", "inf"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(MegastyleError, match="not a size"):
        limits.set_max_item_size(text)

    assert limits.max_item_bytes() == 2**29


def test_the_sentence_names_both_sizes_and_the_option():
    limits.set_max_item_size("1G")

    assert limits.too_large("a.jsonl:3", 3 * 2**30) == (
        "a.jsonl:3 takes 3G, more than 1G: give a larger --max-item-size to read it"
    )
    assert "a.jsonl:3 is more than 1G" in limits.too_large("a.jsonl:3")


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 2**29, 2**30 + 2**29, 2**50])
def test_a_size_is_said_as_it_is_given(size):
    assert limits.parse_size(limits.format_size(size)) == size
