"""Inputs become records that open from here, with ids that do not depend on where they are read."""

import json
import os
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.inputs import read_records
from tests.conftest import draw, jsonl


def whole(*inputs: object) -> list[Record]:
    """All records of `inputs`, none of which may fail."""
    records = []
    for found in read_records([str(name) for name in inputs]):
        assert not isinstance(found, Failure), found.message
        records.append(found)
    return records


def failures(*inputs: object) -> list[Failure]:
    return [found for found in read_records(list(map(str, inputs))) if isinstance(found, Failure)]


def test_the_id_of_a_text_is_the_same_from_every_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = {"style": "ink", "style_file_name": "../imgs/a.png", "content_file_name": "b.png"}
    (tmp_path / "sub").mkdir()
    jsonl(tmp_path / "sub" / "pairs.jsonl", [pair])

    monkeypatch.chdir(tmp_path)
    (above,) = whole("sub/pairs.jsonl")
    monkeypatch.chdir(tmp_path / "sub")
    (beside,) = whole("pairs.jsonl")

    assert above["id"] == beside["id"]
    assert above["style_file_name"] == "imgs/a.png"


def test_a_url_stays_as_it_is(tmp_path: Path) -> None:
    url = "https://example.org//a/../b.png"
    records = jsonl(tmp_path / "m.jsonl", [{"id": "a", "file_name": url}])

    assert whole(records)[0]["file_name"] == url


def test_names_open_through_a_linked_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = tmp_path / "far" / "listing"
    (tmp_path / "far" / "pics").mkdir(parents=True)
    listing.mkdir()
    draw(1).save(tmp_path / "far" / "pics" / "a.png")
    jsonl(listing / "m.jsonl", [{"file_name": "../pics/a.png"}])
    (tmp_path / "link").symlink_to(listing)
    monkeypatch.chdir(tmp_path)

    (record,) = whole("link/m.jsonl")

    assert Path(record["file_name"]).samefile(tmp_path / "far" / "pics" / "a.png")


@pytest.mark.parametrize("absent", [None, "missing key"])
def test_a_record_without_a_picture_has_the_id_of_its_text(tmp_path: Path, absent: Any) -> None:
    record = {"style": "ink"} | ({"file_name": None} if absent is None else {})
    (found,) = whole(jsonl(tmp_path / "m.jsonl", [record]))

    assert len(found["id"]) == 16


def test_an_error_of_any_shape_is_dropped_and_tried_again(tmp_path: Path) -> None:
    shapes: list[object] = ["boom", None, [], {"line": "[1]"}]
    records = [{"id": "a", "_error": error} for error in shapes]

    assert whole(jsonl(tmp_path / "m.jsonl", records)) == [{"id": "a"}] * 4


@pytest.mark.parametrize("line", ['{"_error":{"line":""}}', '{"_error":{"line":"\\ud800"}}'])
def test_a_line_that_was_no_record_stays_a_failure(tmp_path: Path, line: str) -> None:
    (tmp_path / "m.jsonl").write_text(line + "\n")

    assert [found.kind for found in failures(tmp_path / "m.jsonl")] == ["bad_json"]


@pytest.mark.parametrize("notes", [None, "x", [1]])
def test_notes_that_are_no_object_are_dropped(tmp_path: Path, notes: object) -> None:
    records = jsonl(tmp_path / "m.jsonl", [{"id": "a", "_megastyle": notes}])

    assert whole(records) == [{"id": "a"}]


@pytest.mark.parametrize("line", ['{"a":1e999}', '{"a":-1e999}', "[1]", "null", '"a"', "7"])
def test_a_line_that_is_no_object_of_finite_numbers_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "m.jsonl").write_text(f'{{"id":"a"}}\n\n{line}\n')

    (failure,) = failures(tmp_path / "m.jsonl")

    assert failure.kind == "bad_json" and "m.jsonl line 3 " in failure.message


def test_a_pipe_in_place_of_a_picture_fails_instead_of_hanging(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")

    assert "not a regular file" in failures(tmp_path / "a.png")[0].message


def test_pictures_are_read_beside_an_unfinished_output(pictures: Path) -> None:
    (pictures / "captions.jsonl.partial").write_text("{}")

    assert len(whole(pictures)) == 6


@pytest.mark.parametrize(
    "name", ["metadata.jsonl.partial", "part-00000-of-00002.jsonl.partial", "part-00001-of-00002"]
)
def test_unfinished_work_is_refused_before_anything_is_read(tmp_path: Path, name: str) -> None:
    if name.endswith("partial"):
        (tmp_path / name).write_text(json.dumps({"id": "a"}) + "\n")
    else:
        jsonl(tmp_path / "part-00000-of-00002.jsonl", [{"id": "a"}])
        (tmp_path / name).mkdir()
        (tmp_path / name / "metadata.jsonl.partial").write_text("")

    with pytest.raises(MegastyleError, match="is incomplete"):
        read_records([str(tmp_path)])


@pytest.mark.parametrize("name", ["style_indices.pkl", "x.pt", "x.ckpt"])
def test_a_pickle_is_never_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'false'\ntR.")

    with pytest.raises(MegastyleError, match="is a pickle.* never opened"):
        read_records([str(tmp_path / name)])


def test_an_image_on_stdin_is_named_for_what_it_is(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = next(pictures.glob("*.png"))
    with picture.open("rb") as stdin:
        monkeypatch.setattr("sys.stdin", TextIOWrapper(stdin))

        with pytest.raises(MegastyleError, match="stdin is an image, not JSON lines"):
            list(read_records(["-"]))


def test_an_array_of_json_is_made_lines_of(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")

    with pytest.raises(MegastyleError) as refused:
        read_records([str(tmp_path / "a.json")])
    assert refused.value.hint == (
        f"make JSON lines of it: jq -c '.[]' {tmp_path}/a.json > {tmp_path}/a.jsonl"
    )
