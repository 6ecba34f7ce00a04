"""Of many failures people read the first five of each kind, and how many more there are."""

from pathlib import Path

import pytest

from megastyle_cli.core.failure_log import SHOWN, FailureLog
from megastyle_cli.core.record import Failure


def test_the_first_of_each_kind_are_shown_and_the_others_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = FailureLog("caption")
    for number in range(3000):
        record = {"id": f"{number:016}", "file_name": f"{number}.jpg"}
        message = f"record {number:016} has no text under 'style'"
        log.add(Failure(record, "missing_key", message))
    log.add(Failure({"id": "i", "style_file_name": "x.jpg"}, "bad_image", "x.jpg is cut off"))
    log.add(Failure({"id": "i"}, "model_error", "a style in words"))
    log.add(Failure({"_error": {"line": "x"}}, "bad_json", "a.jsonl line 1 is not valid JSON"))

    log.close(Path("captions.errors.jsonl"))

    assert [record.getMessage() for record in caplog.records] == [
        *(f"{number}.jpg: has no text under 'style'" for number in range(SHOWN)),
        "x.jpg is cut off",
        "record i: a style in words",
        "a.jsonl line 1 is not valid JSON",
        "caption: 2,995 more failed (2,995 missing_key): all are in captions.errors.jsonl",
    ]
