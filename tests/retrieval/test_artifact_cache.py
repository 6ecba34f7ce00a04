"""Cached artifacts come back as they were written, or not at all."""

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.retrieval.artifact_cache import ArtifactCache


def store(folder, content, **metadata):
    with ArtifactCache(folder).create("a.bin", metadata) as file:
        file.write(content)


def load(folder):
    metadata, file = ArtifactCache(folder).open("a.bin")
    with file:
        return metadata, file.read()


def test_an_artifact_comes_back_with_its_metadata(tmp_path):
    store(tmp_path, b"abc", count=3)

    assert load(tmp_path) == ({"count": 3}, b"abc")
    assert ArtifactCache(tmp_path).open("b.bin") is None


def test_an_artifact_is_replaced_by_a_newer_one(tmp_path):
    store(tmp_path, b"abc", count=3)
    store(tmp_path, b"de", count=2)

    assert load(tmp_path) == ({"count": 2}, b"de")


def test_an_artifact_that_fails_to_be_written_leaves_the_one_before(tmp_path):
    store(tmp_path, b"abc", count=3)

    with pytest.raises(ZeroDivisionError), ArtifactCache(tmp_path).create("a.bin", {}) as file:
        file.write(b"half")
        raise ZeroDivisionError

    assert load(tmp_path) == ({"count": 3}, b"abc")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "a.bin.json"]


@pytest.mark.parametrize("damaged", ["a.bin", "a.bin.json"])
def test_a_damaged_artifact_is_never_used(tmp_path, damaged):
    store(tmp_path, b"abc", count=3)
    (tmp_path / damaged).write_bytes(b"abd")

    with pytest.raises(MegastyleError, match=r"a\.bin is damaged"):
        ArtifactCache(tmp_path).open("a.bin")


def test_a_folder_that_is_not_writable_caches_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # as root every folder is writable

    store(tmp_path, b"abc")

    assert list(tmp_path.iterdir()) == []
