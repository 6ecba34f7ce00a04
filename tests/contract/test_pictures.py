"""The pictures of the demo may be shipped: small, readable, with author and free licence named."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

PICTURES = Path(__file__).parents[2] / "examples" / "pictures"
FOLDERS = ("styles", "contents")
FREE = {"CC0-1.0", "CC-BY-2.0", "CC-BY-4.0", "public domain"}


def rows(folder: str) -> list[dict[str, Any]]:
    """The lines of a folder's metadata.jsonl."""
    lines = (PICTURES / folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_picture_has_one_metadata_line(folder: str) -> None:
    files = sorted(path.name for path in (PICTURES / folder).iterdir())
    files.remove("metadata.jsonl")

    assert [row["file_name"] for row in rows(folder)] == files


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_picture_names_a_free_licence_and_its_origin(folder: str) -> None:
    for row in rows(folder):
        assert row["license"] in FREE, row
        assert row["title"] and row["author"] and row["source"], row


@pytest.mark.parametrize("folder", FOLDERS)
def test_sources_credit_every_picture_in_one_row(folder: str) -> None:
    table = (PICTURES / "SOURCES.md").read_text(encoding="utf-8").splitlines()

    for row in rows(folder):
        (line,) = (line for line in table if line.startswith(f"| `{row['file_name']}` |"))
        for value in (row["title"], row["author"], row["license"], row["source"]):
            assert value in line


def test_sources_link_every_licence_that_asks_for_credit() -> None:
    sources = (PICTURES / "SOURCES.md").read_text(encoding="utf-8")

    used = {row["license"] for folder in FOLDERS for row in rows(folder)}
    for name in (name for name in used if name.startswith("CC-BY")):
        kind, version = name.removeprefix("CC-").lower().rsplit("-", 1)
        assert f"`{name}`: " in sources
        assert f"https://creativecommons.org/licenses/{kind}/{version}/" in sources


def test_contents_say_what_they_show_in_a_few_words() -> None:
    phrases = [row["content"] for row in rows("contents")]

    assert all(5 <= len(phrase.split()) <= 9 for phrase in phrases)
    assert len(set(phrases)) == len(phrases)


@pytest.mark.parametrize("folder", FOLDERS)
def test_pictures_are_small_plain_rgb(folder: str) -> None:
    for row in rows(folder):
        with Image.open(PICTURES / folder / row["file_name"]) as picture:
            picture.load()
            assert picture.mode == "RGB", row
            assert max(picture.size) <= 1024, row
            assert not picture.getexif(), row


def test_all_pictures_together_stay_within_eight_megabytes() -> None:
    sizes = [path.stat().st_size for path in PICTURES.rglob("*") if path.is_file()]

    assert sum(sizes) <= 8_000_000
