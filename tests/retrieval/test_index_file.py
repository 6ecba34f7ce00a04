"""Reading a saved index: what is complete is read, and what is damaged is refused."""

import json
import os

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.retrieval.index_file import is_saved_index, read_header, read_index
from megastyle_cli.retrieval.index_writer import IndexWriter
from tests.retrieval.small_index import add, open_writer, row


def test_what_was_added_is_there_in_order(tmp_path):
    add(tmp_path / "x", range(2))
    add(tmp_path / "x", range(2, 5))

    saved = read_index(tmp_path / "x")

    assert list(saved.ids) == [f"id{number}" for number in range(5)]
    assert np.array_equal(saved.vectors, np.stack([row(number) for number in range(5)]))
    assert saved.header.encoder == "some@1234"


def test_names_open_from_where_the_index_is_read(tmp_path, monkeypatch):
    add(tmp_path / "x", range(1))
    monkeypatch.chdir(tmp_path)

    assert read_index(tmp_path / "x").file_names[0] == str(tmp_path / "0.png")


def test_the_header_of_format_1_is_read(tmp_path):
    # index.json as versions before the rename of its fields wrote it
    (tmp_path / "index.json").write_text(
        '{"encoder": "some@1234", "told": {"backend": "some"}, "width": 3,'
        ' "probe": [1.0, 0.0, 0.0], "count": 3, "records_bytes": 111, "format": 1}'
    )

    header = read_header(tmp_path / "index.json")

    assert header.encoder_options == {"backend": "some"}
    add(tmp_path / "x", range(3))
    written = json.loads((tmp_path / "x" / "index.json").read_text())
    assert list(written) == list(json.loads((tmp_path / "index.json").read_text()))
    assert written["told"] == {"backend": "some"}


def test_a_folder_with_parts_of_an_index_is_an_index(tmp_path):
    assert not is_saved_index(str(tmp_path))
    writer = open_writer(tmp_path / "x")
    writer.close()

    assert is_saved_index(str(tmp_path / "x"))


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


def deep_header(folder):
    (folder / "index.json").write_text("[" * 100_000)


def later_format(folder):
    header = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(header | {"format": 3}))


def forged(**values):
    def edit(folder):
        header = json.loads((folder / "index.json").read_text())
        (folder / "index.json").write_text(json.dumps(header | values))

    return edit


def garbled_record(folder):
    lines = (folder / "records.jsonl").read_bytes()
    (folder / "records.jsonl").write_bytes(lines.replace(b'"id1"', b"12345"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_header, r"holds vectors\.f32 but no index\.json"),
        (without_vectors, r"vectors\.f32 has 0 bytes, but 3 images need 36"),
        (short_vectors, r"vectors\.f32 has 20 bytes, but 3 images need 36"),
        (short_records, r"records\.jsonl has 20 bytes"),
        (no_json, r"index\.json is not the header of an index"),
        (later_format, "has format 3, but this version reads format 2"),
        (forged(width=True), "is not the header of an index"),
        (forged(probe=[1, "x", 2]), "is not the header of an index"),
        (forged(probe=[float("nan")] * 3), "is not the header of an index"),
        (forged(probe=[1.0]), "is not the header of an index"),
        (forged(encoder=None), "is not the header of an index"),
        (forged(told=[1]), "is not the header of an index"),
        (forged(count=-1), "is not the header of an index"),
        (forged(generation="../.."), "is not the header of an index"),
        (forged(surprise=1), "is not the header of an index"),
        (forged(count=10**30), "images need"),
        (deep_header, "is not the header of an index"),
        (garbled_record, r"records\.jsonl line 2 is not a record"),
    ],
)
def test_a_damaged_index_is_refused_by_readers_and_writers(tmp_path, damage, message):
    add(tmp_path / "x", range(3))
    damage(tmp_path / "x")

    with pytest.raises(MegastyleError, match=message):
        read_index(tmp_path / "x")
    with pytest.raises(MegastyleError, match=message):
        IndexWriter(tmp_path / "x").open()


def test_an_index_without_images_is_refused(tmp_path):
    add(tmp_path / "x", [])

    with pytest.raises(MegastyleError, match="holds no images"):
        read_index(tmp_path / "x")
