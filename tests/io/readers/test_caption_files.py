"""Captions beside pictures: which file counts, and what is taken from it."""

from pathlib import Path

import pytest

from megastyle_cli.io.readers.caption_files import CaptionReader, caption_file


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        ({"d/1.txt", "d/1.caption", "d/1.json"}, "d/1.txt"),
        ({"d/1.caption", "d/1.jpg.json"}, "d/1.caption"),
        ({"d/1.jpg.json"}, "d/1.jpg.json"),
        ({"d/2.txt", "1.txt"}, None),
    ],
)
def test_the_caption_of_a_picture_has_its_name(files: set[str], taken: str | None) -> None:
    assert caption_file("d/1.jpg", files) == taken


@pytest.mark.parametrize(
    ("name", "content", "caption"),
    [
        ("1.txt", b"\xef\xbb\xbfa frog\r\n", "a frog"),
        ("1.json", b'{"url": "x", "caption": "a frog"}', "a frog"),
        ("1.jpg.json", b'{"id": 7, "description": " a frog "}', "a frog"),
        ("1.json", b'{"id": 7, "meta": {"prompt": "a frog"}}', "a frog"),
        ("1.json", b'{"tags": ["frog"]}', None),
        ("1.json", b"[]", None),
    ],
)
def test_a_caption_is_a_text_or_a_key_of_an_object(
    tmp_path: Path, name: str, content: bytes, caption: str | None
) -> None:
    (tmp_path / name).write_bytes(content)

    assert CaptionReader(tmp_path).read(str(tmp_path / name)) == caption


def test_captions_that_are_not_readable_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "1.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "1.json").write_bytes(b"{")
    reader = CaptionReader(tmp_path)

    assert reader.read(str(tmp_path / "1.txt")) is reader.read(str(tmp_path / "1.json")) is None
    reader.warn_unread()
    assert "unreadable captions are skipped: 1 .json, 1 .txt" in caplog.text
