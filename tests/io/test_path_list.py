"""Lists of file names are read as `find`, editors and other systems write them."""

import unicodedata
from pathlib import Path

import pytest

from megastyle_cli.io.path_list import meant_file, named_pictures


def names(content: bytes, separator: str = "\n") -> list[str]:
    lines = content.splitlines(keepends=True) if separator == "\n" else [content]
    return [record["file_name"] for record in named_pictures(lines, separator)]


def test_a_byte_order_mark_and_line_ends_are_no_part_of_a_name() -> None:
    assert names(b"\xef\xbb\xbfa.png\r\n\r\n b.png\n") == ["a.png", " b.png"]
    assert names(b"\xef\xbb\xbfa.png\0b\n.png\0", "\0") == ["a.png", "b\n.png"]


def test_a_name_means_the_file_that_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    composed = unicodedata.normalize("NFC", "\u00e9 1.png")
    decomposed = unicodedata.normalize("NFD", composed)
    (tmp_path / decomposed).touch()
    (tmp_path / "a b.png").touch()

    assert meant_file(str(tmp_path / composed)) == str(tmp_path / decomposed)
    assert meant_file("~/a b.png") == str(tmp_path / "a b.png")
    assert meant_file(f"file://{tmp_path}/a%20b.png") == str(tmp_path / "a b.png")
    assert meant_file("file://host/a.png") == "file://host/a.png"
    for unknown in ("none.png", "~nobody/a.png", "a\0b", "x" * 5000):
        assert meant_file(unknown) == unknown
