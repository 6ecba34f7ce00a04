"""Generated pictures are called as the files they were made from, whatever the order or shard."""

import os
from pathlib import Path
from typing import Any

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.io.inputs import read_records
from megastyle_cli.io.picture_names import PictureNames
from tests.conftest import draw, jsonl


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(*names: str) -> None:
    for number, name in enumerate(names):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        draw(number).save(name, format="png")


def named(*inputs: str, limit: int | None = None) -> dict[str, str]:
    """The name of the picture made from each file."""
    names = PictureNames(inputs, limit, Path("out"))
    found = [one for one in read_records(inputs) if not isinstance(one, Failure)]
    return {one["file_name"]: names.name_for(one["id"], one["file_name"]) for one in found}


def digits(name: str) -> str:
    (record,) = read_records([name])
    assert not isinstance(record, Failure)
    return str(record["id"])[:8]


def test_stems_and_sub_folders_of_a_folder_stay() -> None:
    put("photos/a/owl.jpg", "photos/b/owl.JPEG", "photos/cat.v2.png")

    assert (
        named("photos")
        == named("photos/")
        == {
            "photos/a/owl.jpg": "a/owl",
            "photos/b/owl.JPEG": "b/owl",
            "photos/cat.v2.png": "cat.v2",
        }
    )
    assert [*named(str(Path("photos").resolve())).values()] == ["a/owl", "b/owl", "cat.v2"]


def test_single_files_keep_what_their_outermost_folder_does_not_say() -> None:
    put("photos/a/owl.png", "photos/cat.png", "other/dog.png")

    assert named("photos/a/owl.png", "other/dog.png") == {
        "photos/a/owl.png": "owl",
        "other/dog.png": "dog",
    }
    for inputs in (("photos/a/owl.png", "photos/cat.png"), ("photos/cat.png", "photos/a/owl.png")):
        assert named(*inputs) == {"photos/a/owl.png": "a/owl", "photos/cat.png": "cat"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("photos/owl.jpg", "photos/owl.png"),
        ("photos/Owl.jpg", "photos/owl.jpg"),
        ("photos/A/owl.jpg", "photos/a/owl.jpg"),
        ("photos/e\u0301.jpg", "photos/\u00e9.jpg"),
    ],
)
def test_files_that_would_share_a_name_all_get_digits(one: str, other: str) -> None:
    put(one, other, "photos/cat.png")

    names = named("photos")

    for name in (one, other):
        stem = name.removeprefix("photos/").rpartition(".")[0]
        assert names[name] == f"{stem}-{digits(name)}"
    assert names["photos/cat.png"] == "cat"


def test_folders_with_equal_names_get_digits_in_any_order() -> None:
    put("one/owl.jpg", "two/owl.jpg", "two/cat.jpg")

    names = named("one", "two")

    assert names == named("two", "one")
    assert names["one/owl.jpg"] == f"owl-{digits('one/owl.jpg')}"
    assert names["two/owl.jpg"] == f"owl-{digits('two/owl.jpg')}"
    assert names["two/cat.jpg"] == "cat"


def test_records_keep_names_relative_to_their_file() -> None:
    put("work/a/owl.png", "photos/b/cat.png")
    records = [{"file_name": "a/owl.png"}, {"file_name": "../photos/b/cat.png"}]
    records.append({"file_name": str(Path("photos/b/cat.png").resolve()), "id": "absolute"})
    jsonl(Path("work/in.jsonl"), records[:2])
    jsonl(Path("work/far.jsonl"), records[2:])

    assert named("work/in.jsonl") == {"work/a/owl.png": "a/owl", "photos/b/cat.png": "photos/b/cat"}
    assert [*named("work/far.jsonl").values()] == ["photos/b/cat"]


def test_parts_of_shards_give_the_names_of_one_run() -> None:
    for part, name in enumerate(("a/owl.png", "b/cat.png")):
        put(f"made/part-0000{part}-of-00002/{name}")
        jsonl(Path(f"made/part-0000{part}-of-00002/metadata.jsonl"), [{"file_name": name}])

    assert [*named("made").values()] == ["a/owl", "b/cat"]


def test_a_stream_has_digits_since_it_cannot_be_read_twice() -> None:
    names = PictureNames(["-"], None, Path("out"))

    assert names.name_for("9f2c41d07be8a310", "photos/owl.png") == "photos/owl-9f2c41d0"


LONG, BYTES = "n" * 250, os.fsdecode(b"\xff")


@pytest.mark.parametrize(
    "name",
    [
        *(None, 5, "", "https://example.org/a.png", "x.tar#a.png", "x.parquet#4"),
        *(".hidden.png", ".hidden/a.png", ".png", "a\nb.png", "a\0b.png", "\ud800.png"),
        *(f"{BYTES}.png", f"{LONG}.png", f"{LONG}/a.png"),
        *("metadata.jsonl/a.png", "run.json/a.png", "errors.jsonl.partial/a.png", "owl.png/a.png"),
    ],
)
def test_what_is_no_plain_file_name_is_spread_by_id(name: Any) -> None:
    names = PictureNames(["list.jsonl"], None, Path("out"))

    assert names.name_for("s1_c2", name) == "images/db/s1_c2"


def test_a_picture_in_the_output_is_refused() -> None:
    put("out/owl.png")

    with pytest.raises(MegastyleError, match=r"out holds inputs and is in the output out"):
        PictureNames(["list.jsonl"], None, Path("out")).name_for("a", "out/owl.png")


def test_only_records_within_the_limit_are_compared() -> None:
    put("photos/owl.jpg", "photos/owl.png")

    assert named("photos", limit=1)["photos/owl.jpg"] == "owl"
