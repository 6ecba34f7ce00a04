"""The table of input formats: every row has its module, and the help names every row."""

import inspect
from pathlib import Path

import pytest

from megastyle_cli.io.formats import (
    FORMATS,
    INPUTS_HELP,
    UNSUPPORTED_SUFFIXES,
    Format,
    Reader,
    counted,
    format_of,
    split_member_name,
)

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.module)
def test_the_module_of_a_row_defines_what_a_reader_needs(row: Format) -> None:
    module = row.load()
    needed = ["read", "count", *(["holds_pictures", "picture_bytes"] * row.is_container)]
    for name in needed:
        expected = inspect.signature(getattr(Reader, name)).parameters
        assert [*inspect.signature(getattr(module, name)).parameters] == [*expected][1:]


def test_every_reader_has_a_row() -> None:
    sources = (ROOT / "megastyle_cli" / "io" / "readers").glob("*.py")
    # what reads a folder, or helps a reader, has no such function
    readers = {path.stem for path in sources if "\ndef read(path: Path)" in path.read_text()}

    assert readers == {row.module for row in FORMATS}


def test_no_name_has_two_formats() -> None:
    for row in FORMATS:
        for suffix in row.suffixes:
            for end in (suffix, suffix.upper(), *(suffix + more for more in row.compressions)):
                assert [other for other in FORMATS if other.matches(f"x{end}")] == [row]
    assert format_of("x.png") is None and format_of("x.jsonl.rar") is None


def test_a_member_is_found_in_the_formats_that_are_containers() -> None:
    for row in FORMATS:
        found = split_member_name(f"none/x{row.suffixes[0]}#1")
        assert found == ((f"none/x{row.suffixes[0]}", "1") if row.is_container else None)


def test_the_help_lists_the_formats() -> None:
    assert INPUTS_HELP.startswith("Images, folders, JSON lines (.jsonl, .ndjson, .gz .bz2 ")
    listed, _, rest = INPUTS_HELP.partition(" or - for stdin.")
    assert "holds the caption of 1.jpg" in rest
    assert all(suffix in listed for row in FORMATS for suffix in row.suffixes)


def test_no_format_with_a_row_counts_as_unsupported() -> None:
    assert not any(format_of(f"x{suffix}") for suffix in UNSUPPORTED_SUFFIXES)


def test_kinds_are_counted_the_most_frequent_first() -> None:
    assert counted({".a": 1, ".c": 1200, ".b": 1}) == "1,200 .c, 1 .a, 1 .b"
