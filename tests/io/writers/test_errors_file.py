"""The errors file: failures with their reason, kept until their records are tried again."""

import json
from pathlib import Path

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, record_key
from megastyle_cli.io.writers.errors_file import ErrorsFile

FAILURE = Failure({"id": "a", "n": 1}, "bad_image", "a.png is empty")


def errors_file(path: Path, *, resume: bool = False, overwrite: bool = False) -> ErrorsFile:
    return ErrorsFile(path, "caption", resume=resume, overwrite=overwrite)


def write(path: Path, *failures: Failure) -> None:
    file = errors_file(path)
    file.open()
    for failure in failures:
        file.write(failure)
    file.commit()
    file.close()


def test_a_line_is_the_record_with_its_error(tmp_path: Path) -> None:
    write(tmp_path / "e.jsonl", FAILURE)

    assert json.loads((tmp_path / "e.jsonl").read_text()) == {
        "id": "a",
        "n": 1,
        "_error": {"step": "caption", "kind": "bad_image", "message": "a.png is empty"},
    }


def test_no_failures_leave_no_file(tmp_path: Path) -> None:
    write(tmp_path / "e.jsonl")

    assert list(tmp_path.iterdir()) == []


def test_resuming_keeps_failures_that_are_not_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    write(path, FAILURE, Failure({"id": "b"}, "bad_image", "x"), Failure({"id": "c"}, "k", "x"))
    before = path.read_bytes().splitlines(keepends=True)

    resumed = errors_file(path, resume=True)
    resumed.open()
    resumed.mark_retried({"id": "b", "style": "ink"})
    resumed.commit()

    assert path.read_bytes() == before[0] + before[2]


def test_the_last_failure_that_is_resolved_removes_the_file(tmp_path: Path) -> None:
    write(tmp_path / "e.jsonl", FAILURE)
    resumed = errors_file(tmp_path / "e.jsonl", resume=True)
    resumed.open()
    resumed.mark_retried({"id": "a"})
    resumed.commit()

    assert list(tmp_path.iterdir()) == []


def test_a_stopped_run_leaves_earlier_failures(tmp_path: Path) -> None:
    write(tmp_path / "e.jsonl", FAILURE)
    before = (tmp_path / "e.jsonl").read_bytes()
    stopped = errors_file(tmp_path / "e.jsonl", overwrite=True)
    stopped.open()
    stopped.write(Failure({"id": "z"}, "k", "x"))
    stopped.close()

    assert (tmp_path / "e.jsonl").read_bytes() == before


def test_an_existing_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    write(tmp_path / "e.jsonl", FAILURE)

    with pytest.raises(MegastyleError, match="e.jsonl exists"):
        errors_file(tmp_path / "e.jsonl").check()


def test_a_record_has_the_same_key_before_and_after_it_failed() -> None:
    assert record_key({"id": "a", "file_name": "x"}) == record_key(FAILURE) == "a"
    assert record_key({"file_name": "x.png"}) == "x.png"
    assert record_key(Failure({"_error": {"line": "no json"}}, "bad_json", "")) == "no json"
