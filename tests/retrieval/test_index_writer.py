"""Adding rows to a saved index: what is counted is complete, whatever interrupts the writer."""

import os
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Run
from megastyle_cli.io.images import ImageReader
from megastyle_cli.io.inputs import read_records
from megastyle_cli.retrieval import index_writer
from megastyle_cli.retrieval.index_file import is_saved_index, read_index
from megastyle_cli.retrieval.index_writer import IndexWriter, embed_rows, encode_row, index_sink
from megastyle_cli.retrieval.style_index import IndexSource
from megastyle_cli.runner.job import is_done
from tests.conftest import jsonl
from tests.retrieval.small_index import ThreeColors, add, open_writer, record, row


def add_pictures(index, *inputs, prune=False, commit=True):
    """What `retrieve --add` does, in this process; the writer's counts and remarks."""
    writer = IndexWriter(index, prune=prune)
    with index_sink(writer, Run("retrieve", {}, "0"), None) as sink:
        done = Counter(sink.done)
        found = [r for r in read_records(list(inputs)) if not is_done(r, done, sink.unique_key)]
        if found:
            writer.set_encoder(MeanColor(), {})
        for result in embed_rows(found, MeanColor(), ImageReader(64)):
            sink.write(result)
        sink.flush()
        if commit:
            sink.commit()
    return writer.counts, writer.remarks


class MeanColor:
    """The direction of an image's mean colour."""

    name = "mean-color@1"

    def embed(self, images):
        means = np.array([np.asarray(image).mean(axis=(0, 1)) + 1 for image in images], np.float32)
        return means / np.linalg.norm(means, axis=1, keepdims=True)


def color(path, name):
    Image.new("RGB", (8, 8), name).save(path)


def rows_of(index):
    """What the index holds: the strongest channel of each picture by its name."""
    saved = read_index(index)
    channels = ["red", "green", "blue"]
    found = [
        (Path(n).name, channels[row.argmax()])
        for n, row in zip(saved.file_names, saved.vectors, strict=True)
    ]
    assert len(dict(found)) == len(found), "a name has two rows"
    return dict(found)


@pytest.fixture
def gallery(tmp_path):
    folder = tmp_path / "g"
    folder.mkdir()
    for name in ("red", "green", "blue"):
        color(folder / f"{name}.png", name)
    return folder


def test_a_replaced_picture_takes_the_place_of_the_old_one(tmp_path, gallery):
    index = tmp_path / "x"
    first, _ = add_pictures(index, str(gallery))
    before = read_index(index)
    color(gallery / "red.png", "blue")
    color(gallery / "new.png", "red")

    counts, remarks = add_pictures(index, str(gallery))
    again, _ = add_pictures(index, str(gallery))

    assert first == {"added": 3, "replaced": 0, "unchanged": 0, "gone": 0}
    assert rows_of(index) == {
        "red.png": "blue",
        "green.png": "green",
        "blue.png": "blue",
        "new.png": "red",
    }
    assert counts == {"added": 1, "replaced": 1, "unchanged": 2, "gone": 0}
    assert remarks == [f"{index}: 1 added, 1 replaced, 2 unchanged"]
    assert again == {"added": 0, "replaced": 0, "unchanged": 4, "gone": 0}
    assert before.vectors.shape == (3, 3)  # a reader from before goes on with what it has mapped
    assert sorted(path.name for path in index.iterdir()) == [
        "index.json",
        "lookup.bin",
        "lookup.bin.json",
        "records.1.jsonl",
        "vectors.1.f32",
    ]


@pytest.mark.parametrize("method", ["exact", "ivf"])
def test_what_was_cached_of_the_rows_from_before_is_not_used(tmp_path, gallery, method):
    index = tmp_path / "x"
    add_pictures(index, str(gallery))
    search = ImageReader(64), method, "csls"
    IndexSource.find([str(index)]).open(MeanColor(), *search)
    color(gallery / "red.png", "yellow")
    add_pictures(index, str(gallery))

    found, fresh = (
        IndexSource.find([str(name)]).open(MeanColor(), *search) for name in (index, gallery)
    )
    queries = np.stack([row(number) for number in range(3)])

    for one, other in zip(found.search(queries, 3), fresh.search(queries, 3), strict=True):
        if one.dtype.kind == "f":
            assert np.allclose(one, other)
        else:
            assert [Path(found.file_names[i]).name for i in one.flat] == [
                Path(fresh.file_names[i]).name for i in other.flat
            ]


def test_rows_of_pictures_that_are_gone_are_told_and_pruned(tmp_path, gallery):
    index = tmp_path / "x"
    add_pictures(index, str(gallery))
    (gallery / "red.png").unlink()
    color(gallery / "blue.png", "red")  # its row from before is not one of those counted

    _, messages = add_pictures(index, str(gallery))
    kept = rows_of(index)
    _, pruned = add_pictures(index, prune=True)

    assert (
        messages[1] == f"{index}: 1 of 3 rows name a file that does not exist: --prune removes them"
    )
    assert pruned[1] == f"{index}: 1 of 3 rows name a file that does not exist: removed"
    assert len(kept) == 3
    assert rows_of(index) == {"green.png": "green", "blue.png": "red"}


def test_an_index_whose_pictures_are_all_gone_is_not_emptied(tmp_path, gallery):
    index = tmp_path / "x"
    add_pictures(index, str(gallery))
    gallery.rename(tmp_path / "elsewhere")

    with pytest.raises(MegastyleError, match="the files of all 3 rows of .* do not exist"):
        add_pictures(index, prune=True)

    assert len(read_index(index).ids) == 3


def test_one_picture_under_two_names_has_two_rows(tmp_path, gallery):
    index = tmp_path / "x"
    shutil.copy(gallery / "red.png", gallery / "copy.png")
    add_pictures(index, str(gallery))
    color(gallery / "copy.png", "green")

    add_pictures(index, str(gallery))

    assert rows_of(index)["red.png"] == "red"
    assert rows_of(index)["copy.png"] == "green"


def test_a_picture_replaced_under_an_id_of_its_own_is_noticed(tmp_path, gallery):
    index = tmp_path / "x"
    listing = jsonl(
        gallery / "metadata.jsonl",
        [{"id": "a", "file_name": "red.png"}, {"id": "b", "file_name": "blue.png"}],
    )
    add_pictures(index, str(listing))
    before = IndexSource.find([str(index)]).fingerprint
    color(gallery / "red.png", "green")

    counts, _ = add_pictures(index, str(listing))

    assert counts == {"added": 0, "replaced": 1, "unchanged": 1, "gone": 0}
    assert rows_of(index) == {"red.png": "green", "blue.png": "blue"}
    assert list(read_index(index).ids) == ["b", "a"]
    assert IndexSource.find([str(index)]).fingerprint != before


def test_two_records_of_one_picture_have_a_row_each(tmp_path, gallery):
    index = tmp_path / "x"
    listing = jsonl(gallery / "metadata.jsonl", [{"id": n, "file_name": "red.png"} for n in "ab"])

    add_pictures(index, str(listing))
    counts, _ = add_pictures(index, str(listing))

    assert list(read_index(index).ids) == ["a", "b"]
    assert counts["replaced"] == counts["added"] == 0


def test_members_of_archives_are_replaced_and_pruned(tmp_path, gallery):
    index, tar = tmp_path / "x", tmp_path / "x.tar"
    with tarfile.open(tar, "w") as archive:
        for name in ("red", "green"):
            archive.add(gallery / f"{name}.png", f"{name}.png")
    add_pictures(index, str(tar))
    with tarfile.open(tar, "w") as archive:
        archive.add(gallery / "blue.png", "red.png")

    counts, _ = add_pictures(index, str(tar), prune=True)

    assert counts == {"added": 0, "replaced": 1, "unchanged": 0, "gone": 1}
    assert rows_of(index) == {"x.tar#red.png": "blue"}


def test_a_row_is_dropped_if_its_picture_cannot_be_read_any_more(tmp_path, gallery):
    index = tmp_path / "x"
    add_pictures(index, str(gallery))
    (gallery / "red.png").write_bytes(b"no picture")

    _, remarks = add_pictures(index, str(gallery))

    assert remarks == [f"{index}: 0 added, 0 replaced, 2 unchanged, 1 removed (no longer readable)"]
    assert rows_of(index) == {"green.png": "green", "blue.png": "blue"}


def test_a_replacement_that_is_killed_leaves_the_index_before_or_after_and_goes_on(
    tmp_path, gallery, monkeypatch
):
    index = tmp_path / "x"
    add_pictures(index, str(gallery))
    before = rows_of(index)
    color(gallery / "red.png", "blue")
    (gallery / "green.png").unlink()
    real, killed = os.fsync, []

    def fsync(handle):  # what is on disk around each of these calls is what a kill would leave
        for call in (lambda _: None, real):
            call(handle)
            killed.append(tmp_path / f"x{len(killed)}")
            shutil.copytree(index, killed[-1])

    monkeypatch.setattr(os, "fsync", fsync)
    add_pictures(index, str(gallery), prune=True)
    monkeypatch.setattr(os, "fsync", real)

    after = {"blue.png": "blue", "red.png": "blue"}
    assert rows_of(index) == after
    assert len(killed) > 8
    for left in killed:
        assert rows_of(left) in (before, after)
        add_pictures(left, str(gallery), prune=True)
        assert rows_of(left) == after
        assert not list(left.glob("*.partial"))


def test_a_stopped_build_is_not_an_index_yet_and_goes_on(tmp_path):
    add(tmp_path / "x", range(3), commit=False)

    assert is_saved_index(str(tmp_path / "x"))
    with pytest.raises(MegastyleError, match=r"incomplete: it holds index\.json\.partial"):
        read_index(tmp_path / "x")
    add(tmp_path / "x", range(3, 4))
    assert len(read_index(tmp_path / "x").ids) == 4


def test_readers_see_the_index_from_before_until_the_last_row_is_tried(tmp_path):
    add(tmp_path / "x", range(3))
    writer = open_writer(tmp_path / "x")
    writer.write(encode_row(record(3)))
    writer._save()

    before = list(read_index(tmp_path / "x").ids)
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

    read_torn = list(read_index(tmp_path / "x").ids)
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

    with pytest.raises(MegastyleError, match=r"is not an index: it holds photo\.jpg"):
        IndexWriter(tmp_path).open()

    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_another_encoder_adds_nothing(tmp_path):
    class Other(ThreeColors):
        name = "other@5678"

    add(tmp_path / "x", range(3))
    writer = IndexWriter(tmp_path / "x")
    writer.open()

    with pytest.raises(MegastyleError, match="made with some@1234, but the encoder is other@5678"):
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

    assert list(read_index(tmp_path / "killed").ids) == ["id0", "id1", "id2", "id3", "id7"]


def test_a_sink_writes_rows_names_and_failures_into_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writer = IndexWriter(tmp_path / "x")
    with index_sink(writer, Run("retrieve", {}, "0"), None) as sink:
        writer.set_encoder(ThreeColors(), {})
        sink.write({**record(1), "file_name": "imgs/1.png"})
        sink.commit()

    saved = read_index(tmp_path / "x")
    assert list(saved.ids) == ["id1"]
    assert b'"../imgs/1.png"' in (tmp_path / "x" / "records.jsonl").read_bytes()
    assert sink.paths.errors == tmp_path / "x" / "errors.jsonl"
