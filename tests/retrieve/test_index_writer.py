"""Adding rows to a saved index: what is counted is complete, whatever interrupts the writer."""

import shutil

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Run
from megastyle_cli.retrieve import index_writer
from megastyle_cli.retrieve.index_file import is_saved_index, read_index
from megastyle_cli.retrieve.index_writer import IndexWriter, encode_row, index_sink, row_key
from tests.retrieve.small_index import ThreeColors, add, open_writer, record


def test_rows_from_before_are_counted(tmp_path, monkeypatch):
    add(tmp_path / "x", [1, 1, 2])
    monkeypatch.chdir(tmp_path)
    key_of = row_key(tmp_path / "x")

    writer = open_writer(tmp_path / "x")
    writer.close()

    assert writer.done == {
        key_of({"id": "id1", "file_name": "1.png"}): 2,
        key_of({"id": "id2", "file_name": str(tmp_path / "2.png")}): 1,
    }


def test_a_stopped_build_is_not_an_index_yet_and_goes_on(tmp_path):
    add(tmp_path / "x", range(3), commit=False)

    assert is_saved_index(str(tmp_path / "x"))
    with pytest.raises(MegastyleError, match=r"not complete: it holds index\.json\.partial"):
        read_index(tmp_path / "x")
    add(tmp_path / "x", range(3, 4))
    assert len(read_index(tmp_path / "x").ids) == 4


def test_readers_see_the_index_from_before_until_the_last_row_is_tried(tmp_path):
    add(tmp_path / "x", range(3))
    writer = open_writer(tmp_path / "x")
    writer.write(encode_row(record(3)))
    writer._save()

    before = read_index(tmp_path / "x").ids
    writer.commit()
    writer.close()

    assert before == ["id0", "id1", "id2"]
    assert len(read_index(tmp_path / "x").ids) == 4


@pytest.mark.parametrize("part", ["vectors.f32", "records.jsonl"])
def test_a_torn_tail_is_cut_off(tmp_path, part):
    add(tmp_path / "x", range(3))
    whole = (tmp_path / "x" / part).read_bytes()
    with (tmp_path / "x" / part).open("ab") as file:
        file.write(b'{"id":"half')

    read_torn = read_index(tmp_path / "x").ids
    add(tmp_path / "x", [])

    assert read_torn == ["id0", "id1", "id2"]
    assert (tmp_path / "x" / part).read_bytes() == whole


def test_two_writers_are_refused(tmp_path):
    first = open_writer(tmp_path / "x")

    with pytest.raises(MegastyleError, match="another process is writing"):
        IndexWriter(tmp_path / "x").open()
    first.close()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"x")

    with pytest.raises(MegastyleError, match=r"is no index: it holds photo\.jpg"):
        IndexWriter(tmp_path).open()

    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_another_encoder_adds_nothing(tmp_path):
    class Other(ThreeColors):
        name = "other@5678"

    add(tmp_path / "x", range(3))
    writer = IndexWriter(tmp_path / "x")
    writer.open()

    with pytest.raises(MegastyleError, match="made by some@1234, and this is other@5678"):
        writer.set_encoder(Other(), {})
    writer.close()

    assert len(read_index(tmp_path / "x").ids) == 3


def test_a_killed_writer_keeps_the_rows_that_were_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(index_writer, "COMMIT_ROWS", 2)
    writer = open_writer(tmp_path / "x")
    for number in range(5):
        writer.write(encode_row(record(number)))
        writer.flush()  # counts the rows after the second and the fourth
    shutil.copytree(tmp_path / "x", tmp_path / "killed")  # what is on disk at this moment
    writer.close()

    add(tmp_path / "killed", [7])

    assert read_index(tmp_path / "killed").ids == ["id0", "id1", "id2", "id3", "id7"]


def test_a_sink_writes_rows_names_and_failures_into_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writer = IndexWriter(tmp_path / "x")
    with index_sink(writer, Run("retrieve", {}, "0"), None) as sink:
        writer.set_encoder(ThreeColors(), {})
        sink.write({**record(1), "file_name": "imgs/1.png"})
        sink.commit()

    saved = read_index(tmp_path / "x")
    assert saved.ids == ["id1"]
    assert b'"../imgs/1.png"' in (tmp_path / "x" / "records.jsonl").read_bytes()
    assert sink.paths.errors == tmp_path / "x" / "errors.jsonl"
