"""Names of pictures: to a folder and back, inside of it or not, and safe as file names."""

import os
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from megastyle_cli.io.relative_paths import (
    LISTING_KEYS,
    escapes_folder,
    from_folder,
    from_listing_keys,
    hashed_name,
    safe_name,
    to_folder,
    to_listing_keys,
    with_file_name,
)

PARTS = st.lists(st.sampled_from(["a", "b.c", "..", "d e", "#1", "...", "x.tar#a"]), min_size=1)
INNER = st.lists(st.sampled_from(["a", "out", "b.c"]), max_size=4).map("/".join)
BASES = st.lists(st.sampled_from(["a", "out", "b.c", ".."]), max_size=4).map("/".join)


def absolute(name: str) -> str:
    return os.path.abspath(name)  # noqa: PTH100 - without following links


@given(INNER, PARTS)
def test_a_name_comes_back_from_every_folder(base: str, parts: list[str]) -> None:
    name = os.path.normpath("/".join(parts))
    assume(not name.startswith("../.."))  # above the root ".." means the root

    assert from_folder(base)(to_folder(Path(base))(name)) == name


@pytest.mark.parametrize("base", ["", "out"])
def test_an_empty_name_stays_empty(base: str) -> None:
    assert from_folder(base)("") == to_folder(Path(base))("") == ""


@given(BASES, PARTS)
def test_absolute_names_and_urls_open_from_everywhere(base: str, parts: list[str]) -> None:
    name = os.path.normpath("/" + "/".join(parts))
    url = "https://example.org/" + "/".join(parts)

    assert absolute(from_folder(base)(to_folder(Path(base))(name))) == name
    assert from_folder(base)(url) == to_folder(Path(base))(url) == url


@given(BASES, PARTS)
def test_a_name_means_the_same_file_from_a_folder(base: str, parts: list[str]) -> None:
    name = "/".join(parts)

    relative = to_folder(Path(base))(name)

    assert absolute(f"{base or '.'}/{relative}") == absolute(name)


@given(st.lists(st.sampled_from(["", "a", ".", "..", "..a", "b.."]), min_size=1))
def test_a_name_escapes_a_folder_if_it_leads_above_it(parts: list[str]) -> None:
    name = "/".join(parts)

    found = Path(absolute(f"/folder/inner/{name}"))

    assert escapes_folder(name) == (not found.is_relative_to("/folder/inner") or name[:1] == "/")


@given(st.text(), st.integers(0, 3), st.sampled_from(["_-", "._-"]))
def test_safe_names_are_file_names_and_differ(record_id: str, earlier: int, signs: str) -> None:
    name = safe_name(record_id, earlier, signs=signs)

    assert name.isascii() and not set(name) & set("/\\\0 #%") and 0 < len(name) < 130
    assert not name.startswith((".", "-", "~"))
    assert safe_name(record_id, earlier + 1, signs=signs) != name
    assert safe_name(f"{record_id}x", earlier, signs=signs) != name


def test_a_plain_id_is_its_own_name() -> None:
    assert safe_name("s1_c2", 0, signs="_-") == "s1_c2"
    assert safe_name("s1_c2", 1, signs="_-") == "s1_c2~1"
    assert safe_name("a.b", 0, signs="._-") == "a.b"
    assert safe_name("a.b", 0, signs="_-") == hashed_name("a.b")


def test_listing_keys_are_the_inverse_of_record_keys() -> None:
    record = {"file_name": "0.png", **{key: f"{key}.png" for key in LISTING_KEYS}, "style": "ink"}

    listed = to_listing_keys(record)

    assert listed.keys() & LISTING_KEYS.keys() == set()
    assert "file_name" in listed and from_listing_keys(listed) == record


@pytest.mark.parametrize("key", LISTING_KEYS)
def test_a_key_that_is_there_already_is_not_replaced(key: str) -> None:
    record = {key: "a.png", LISTING_KEYS[key]: "b.png"}

    assert from_listing_keys(record) == record


@pytest.mark.parametrize("key", ["image", "path", "filepath", "picture"])
def test_what_other_tools_call_file_name_names_the_picture(key: str) -> None:
    record = {"style": "ink", key: "a/b.JPG", "n": 1}

    assert [*with_file_name(record).items()] == [
        ("style", "ink"),
        ("file_name", "a/b.JPG"),
        ("n", 1),
    ]
    assert with_file_name({**record, "file_name": None})["file_name"] == "a/b.JPG"


@pytest.mark.parametrize(
    "record",
    [
        {"image": "https://example.org/a.jpg"},
        {"path": "notes.txt", "image": 7},
        {"image": "a.jpg", "file_name": "b.jpg"},
        {"image": "a.jpg", "style_file_name": "b.jpg"},
    ],
)
def test_what_is_no_picture_s_name_or_is_named_already_stays(record: dict[str, object]) -> None:
    assert with_file_name(record) is record
