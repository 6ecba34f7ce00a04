"""Ids: a record's own, else that of its picture, else that of its text."""

from pathlib import Path

import pytest

from megastyle_cli.core.record import Failure, bytes_id, text_id
from megastyle_cli.io.record_ids import with_id


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"id": "a", "n": 1}, {"id": "a", "n": 1}),
        ({"n": 1, "id": "a"}, {"n": 1, "id": "a"}),
        ({"id": 7, "n": 1}, {"id": "7", "n": 1}),
        ({"n": 1, "id": 7}, {"id": "7", "n": 1}),
        ({"n": 1}, {"id": text_id({"n": 1}), "n": 1}),
        ({"n": 1, "id": None}, {"id": text_id({"n": 1}), "n": 1}),
        ({"id": "", "n": 1}, {"id": text_id({"n": 1}), "n": 1}),
    ],
)
def test_a_record_gets_an_id(record: dict, expected: dict) -> None:
    found = with_id(record)

    assert found == expected and list(found) == list(expected)  # type: ignore[call-overload]


def test_the_id_of_a_picture_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"frog")

    assert with_id({"file_name": str(tmp_path / "a.png")}) == {
        "id": bytes_id(b"frog"),
        "file_name": str(tmp_path / "a.png"),
    }


def test_a_picture_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    record = {"file_name": str(tmp_path / "none.png")}

    found = with_id(record)

    assert isinstance(found, Failure) and found.record == record and found.kind == "bad_image"
    assert with_id(found) is found
