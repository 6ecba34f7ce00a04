"""The errors file: failures with their reason, kept until their records are tried again."""

import json
from pathlib import Path

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.io.writers.errors_file import ErrorsFile, record_key

FAILURE = Failure({"id": "a", "n": 1}, "bad_image", "a.png is empty")


def errors_file(path: Path | None, *, resume: bool = False, overwrite: bool = False) -> ErrorsFile:
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


def test_without_a_file_failures_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    file = errors_file(None)
    file.open()
    file.write(FAILURE)
    file.commit()
    file.close()

    assert "a.png is empty" in caplog.text


def test_a_record_has_the_same_key_before_and_after_it_failed() -> None:
    assert record_key({"id": "a", "file_name": "x"}) == record_key(FAILURE) == "a"
    assert record_key({"file_name": "x.png"}) == "x.png"
    assert record_key(Failure({"_error": {"line": "no json"}}, "bad_json", "")) == "no json"


@pytest.mark.parametrize("path", ["e.jsonl", None])
def test_the_first_failures_of_a_kind_are_told_and_the_others_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str | None
) -> None:
    file = errors_file(tmp_path / path if path else None)
    file.open()
    for n in range(9):
        file.write(Failure({"id": str(n), "file_name": f"{n}.png"}, "bad_image", "is empty"))
        file.write(Failure({"id": str(n)}, "bad_json", f"a.jsonl line {n} is not valid JSON"))
    file.commit()
    file.close()

    printed = caplog.messages
    assert printed[:3] == ["0.png: is empty", "a.jsonl line 0 is not valid JSON", "1.png: is empty"]
    assert len(printed) == 11
    where = f"all are in {tmp_path / 'e.jsonl'}" if path else "--errors FILE keeps them"
    assert printed[-1] == f"caption: 8 more failed (4 bad_image, 4 bad_json): {where}"
