"""Sizes are read or refused."""

import pytest

from megastyle_cli.cli.command_line import MAX_PX, MIN_PX, parse_size
from megastyle_cli.core.errors import MegastyleError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (None, (None, None)),
        ("512", (512, None)),
        ("768x512", (None, (768, 512))),
        ("768X512", (None, (768, 512))),
        (str(MIN_PX), (MIN_PX, None)),
        (str(MAX_PX), (MAX_PX, None)),
    ],
)
def test_a_size_is_a_longer_side_or_width_and_height(text: str | None, size: object) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "31", "4097", "512x", "1x2x3", "-64", "64.0", "big"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(MegastyleError, match="WIDTHxHEIGHT"):
        parse_size(text)
