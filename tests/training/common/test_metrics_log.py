"""A run's lines: those that fit the step, each failure once, nothing torn."""

import json

import pytest

from megastyle_cli.core.record import Failure, Run
from megastyle_cli.training.common.checkpoint import start_run
from megastyle_cli.training.common.metrics_log import Journal
from tests.conftest import lines


@pytest.fixture
def folder(tmp_path):
    start_run(tmp_path / "run", Run("train-encoder", {"lr": 0.1}, "1"), overwrite=False)
    return tmp_path / "run"


def test_a_resumed_run_forgets_what_it_will_measure_again(folder):
    journal = Journal(folder, "train-encoder", is_writing=True)
    for step in range(5):
        journal.measure({"step": step})
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')  # torn off by a kill

    journal.cut(3)
    assert [line["step"] for line in lines(folder / "metrics.jsonl")] == [0, 1, 2, 3]
    journal.cut(0)
    assert lines(folder / "metrics.jsonl") == []


def test_a_failure_is_told_once_over_all_starts(folder):
    failure = Failure({"id": "a", "file_name": "imgs/a.png"}, "bad_image", "imgs/a.png is empty")

    first = [Journal(folder, "train-encoder", is_writing=True).fail(failure) for _ in range(2)]

    assert first == [True, False]
    (told,) = lines(folder / "errors.jsonl")
    assert told["_error"] == {
        "step": "train-encoder",
        "kind": "bad_image",
        "message": "imgs/a.png is empty",
    }
    assert told["file_name"].endswith("imgs/a.png") and told["file_name"].startswith("..")


def test_a_torn_line_of_errors_is_dropped_and_its_picture_told_again(folder):
    failures = [Failure({"id": name}, "bad_image", f"{name}.png is empty") for name in "ab"]
    for failure in failures:
        Journal(folder, "train-encoder", is_writing=True).fail(failure)
    path = folder / "errors.jsonl"
    path.write_text(path.read_text()[:-9])

    assert [
        Journal(folder, "train-encoder", is_writing=True).fail(failure) for failure in failures
    ] == [False, True]
    assert [record["id"] for record in lines(path)] == ["a", "b"]


def test_only_the_first_rank_writes(folder):
    journal = Journal(folder, "train-encoder", is_writing=False)
    journal.measure({"step": 1})
    journal.fail(Failure({"id": "a"}, "bad_json", "line 1"))

    assert journal.told == {"line 1": "bad_json"}
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoints", "run.json"]
    assert json.loads((folder / "run.json").read_text())["options"] == {"lr": 0.1}
