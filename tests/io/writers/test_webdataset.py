"""WebDataset shards: a sample for each record, the same bytes for the same records."""

import io
import json
import tarfile

from megastyle_cli.io.writers import webdataset

ROWS = [
    ({"id": "a", "file_name": "t.tar#a.png", "content": "A frog", "style": "In ink."}, b"one"),
    ({"id": "b", "file_name": "t.tar#b.jpg", "style": "In oil"}, b"two"),
    ({"id": "c", "file_name": "t.tar#c.jpg", "content": " "}, b"three"),
]


def written() -> bytes:
    file = io.BytesIO()
    webdataset.write(file, ROWS)
    return file.getvalue()


def test_a_sample_has_its_picture_record_and_prompt() -> None:
    with tarfile.open(fileobj=io.BytesIO(written())) as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]

    assert list(members) == [
        *("a.png", "a.json", "a.txt", "b.jpg", "b.json", "b.txt", "c.jpg", "c.json"),
    ]
    assert members["a.png"] == b"one" and members["a.txt"] == b"A frog. In ink."
    assert members["b.txt"] == b"In oil."
    assert json.loads(members["b.json"]) == {"id": "b", "style": "In oil"}


def test_the_bytes_depend_on_the_records_alone() -> None:
    assert written() == written()
    with tarfile.open(fileobj=io.BytesIO(written())) as tar:
        assert {(m.mtime, m.uid, m.uname) for m in tar} == {(0, 0, "")}
