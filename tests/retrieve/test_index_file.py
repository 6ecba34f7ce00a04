"""A saved index grows row by row, and what is counted is whole."""

import json
import os

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.retrieve.artifact_cache import Shelf
from megastyle_cli.retrieve.index_file import (
    GrowingIndex,
    entry,
    is_saved_index,
    open_index,
    probe_picture,
    row_key,
)

PROBE = np.array([1.0, 0.0, 0.0], np.float32)


def row(number):
    return np.eye(3, dtype=np.float32)[number % 3]


def record(number):
    return {"id": f"id{number}", "file_name": f"../{number}.png", "vector": row(number)}


def opened(folder):
    growing = GrowingIndex(folder)
    growing.open()
    growing.made_by("some@1234", {"backend": "some"}, PROBE)
    return growing


def add(folder, numbers, *, commit=True):
    growing = opened(folder)
    for number in numbers:
        growing.write(entry(record(number)))
    if commit:
        growing.commit()
    growing.close()


def test_what_was_added_is_there_in_order(tmp_path):
    add(tmp_path / "x", range(2))
    add(tmp_path / "x", range(2, 5))

    saved = open_index(tmp_path / "x")

    assert saved.ids == [f"id{number}" for number in range(5)]
    assert np.array_equal(saved.vectors, np.stack([row(number) for number in range(5)]))
    assert saved.header.encoder == "some@1234"


def test_names_open_from_where_the_index_is_read(tmp_path, monkeypatch):
    add(tmp_path / "x", range(1))
    monkeypatch.chdir(tmp_path)

    assert open_index(tmp_path / "x").file_names[0] == str(tmp_path / "0.png")


def test_rows_from_before_are_counted(tmp_path, monkeypatch):
    add(tmp_path / "x", [1, 1, 2])
    monkeypatch.chdir(tmp_path)
    key_of = row_key(tmp_path / "x")

    growing = opened(tmp_path / "x")
    growing.close()

    assert growing.done == {
        key_of({"id": "id1", "file_name": "1.png"}): 2,
        key_of({"id": "id2", "file_name": str(tmp_path / "2.png")}): 1,
    }


def test_a_stopped_build_is_not_an_index_yet_and_goes_on(tmp_path):
    add(tmp_path / "x", range(3), commit=False)

    assert is_saved_index(str(tmp_path / "x"))
    with pytest.raises(MegastyleError, match=r"not complete: it holds index\.json\.partial"):
        open_index(tmp_path / "x")
    add(tmp_path / "x", range(3, 4))
    assert len(open_index(tmp_path / "x").ids) == 4


def test_readers_see_the_index_from_before_until_the_last_row_is_tried(tmp_path):
    add(tmp_path / "x", range(3))
    growing = opened(tmp_path / "x")
    growing.write(entry(record(3)))
    growing._save()

    before = open_index(tmp_path / "x").ids
    growing.commit()
    growing.close()

    assert before == ["id0", "id1", "id2"]
    assert len(open_index(tmp_path / "x").ids) == 4


@pytest.mark.parametrize("part", ["vectors.f32", "records.jsonl"])
def test_a_torn_tail_is_cut_off(tmp_path, part):
    add(tmp_path / "x", range(3))
    whole = (tmp_path / "x" / part).read_bytes()
    with (tmp_path / "x" / part).open("ab") as file:
        file.write(b'{"id":"half')

    read_torn = open_index(tmp_path / "x").ids
    add(tmp_path / "x", [])

    assert read_torn == ["id0", "id1", "id2"]
    assert (tmp_path / "x" / part).read_bytes() == whole


def test_two_writers_are_refused(tmp_path):
    first = opened(tmp_path / "x")

    with pytest.raises(MegastyleError, match="another process is writing"):
        GrowingIndex(tmp_path / "x").open()
    first.close()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"x")

    with pytest.raises(MegastyleError, match=r"is no index: it holds photo\.jpg"):
        GrowingIndex(tmp_path).open()

    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def without_header(folder):
    (folder / "index.json").unlink()


def without_vectors(folder):
    (folder / "vectors.f32").unlink()


def short_vectors(folder):
    os.truncate(folder / "vectors.f32", 20)


def short_records(folder):
    os.truncate(folder / "records.jsonl", 20)


def no_json(folder):
    (folder / "index.json").write_text("{")


def later_format(folder):
    told = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(told | {"format": 2}))


def garbled_record(folder):
    lines = (folder / "records.jsonl").read_bytes()
    (folder / "records.jsonl").write_bytes(lines.replace(b'"id1"', b"12345"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_header, r"holds vectors\.f32 and no index\.json"),
        (without_vectors, r"vectors\.f32 has 0 bytes, and 3 pictures need 36"),
        (short_vectors, r"vectors\.f32 has 20 bytes, and 3 pictures need 36"),
        (short_records, r"records\.jsonl has 20 bytes"),
        (no_json, r"index\.json is no index of ours"),
        (later_format, "has format 2, and this version reads 1"),
        (garbled_record, r"records\.jsonl line 2 is no record"),
    ],
)
def test_a_damaged_index_is_refused_by_readers_and_writers(tmp_path, damage, message):
    add(tmp_path / "x", range(3))
    damage(tmp_path / "x")

    with pytest.raises(MegastyleError, match=message):
        open_index(tmp_path / "x")
    with pytest.raises(MegastyleError, match=message):
        GrowingIndex(tmp_path / "x").open()


def test_an_index_without_a_picture_is_said(tmp_path):
    add(tmp_path / "x", [])

    with pytest.raises(MegastyleError, match="holds no picture"):
        open_index(tmp_path / "x")


def test_the_probe_is_always_the_same_picture():
    assert probe_picture().tobytes() == probe_picture().tobytes()
    assert len(probe_picture().getcolors(96 * 96) or []) > 100


def test_a_shelf_gives_back_what_it_keeps(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.keep("a.bin", {"count": 3}, lambda file: file.write(b"abc"))

    facts, file = shelf.take("a.bin")

    with file:
        assert (facts, file.read()) == ({"count": 3}, b"abc")
    assert shelf.take("b.bin") is None


@pytest.mark.parametrize("damaged", ["a.bin", "a.bin.json"])
def test_a_damaged_kept_file_is_never_used(tmp_path, damaged):
    shelf = Shelf(tmp_path)
    shelf.keep("a.bin", {"count": 3}, lambda file: file.write(b"abc"))
    (tmp_path / damaged).write_bytes(b"abd")

    with pytest.raises(MegastyleError, match=r"a\.bin is damaged"):
        shelf.take("a.bin")
