"""Metrics fit the step of the run, each failure is logged once, and no line is incomplete."""

import json

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Run
from megastyle_cli.training.common.metrics_log import MetricsLog
from megastyle_cli.training.common.run_folder import start_run
from tests.conftest import lines


@pytest.fixture
def folder(tmp_path):
    start_run(tmp_path / "run", Run("train-encoder", {"lr": 0.1}, "1"), overwrite=False)
    return tmp_path / "run"


def test_a_resumed_run_deletes_metrics_that_it_will_log_again(folder):
    metrics = MetricsLog(folder, "train-encoder", is_writing=True)
    for step in range(5):
        metrics.log({"step": step})
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')  # cut off by a kill

    metrics.discard_after(3)
    assert [line["step"] for line in lines(folder / "metrics.jsonl")] == [0, 1, 2, 3]
    metrics.discard_after(0)
    assert lines(folder / "metrics.jsonl") == []


@pytest.mark.parametrize("line", [b"\xff", b"[]", b'{"step": "x"}'])
def test_damaged_metrics_are_named(folder, line):
    (folder / "metrics.jsonl").write_bytes(line + b"\n")

    with pytest.raises(MegastyleError, match="metrics.jsonl line 1 is damaged"):
        MetricsLog(folder, "train-encoder", is_writing=True).discard_after(3)


def test_a_failure_is_logged_once_over_all_starts(folder):
    failure = Failure({"id": "a", "file_name": "imgs/a.png"}, "bad_image", "imgs/a.png is empty")

    first = [
        MetricsLog(folder, "train-encoder", is_writing=True).log_failure(failure) for _ in range(2)
    ]

    assert first == [True, False]
    (error,) = lines(folder / "errors.jsonl")
    assert error["_error"] == {
        "step": "train-encoder",
        "kind": "bad_image",
        "message": "imgs/a.png is empty",
    }
    assert error["file_name"].endswith("imgs/a.png") and error["file_name"].startswith("..")


def test_an_incomplete_line_of_errors_is_dropped_and_logged_again(folder):
    failures = [Failure({"id": name}, "bad_image", f"{name}.png is empty") for name in "ab"]
    for failure in failures:
        MetricsLog(folder, "train-encoder", is_writing=True).log_failure(failure)
    path = folder / "errors.jsonl"
    path.write_text(path.read_text()[:-9])

    assert [
        MetricsLog(folder, "train-encoder", is_writing=True).log_failure(failure)
        for failure in failures
    ] == [False, True]
    assert [record["id"] for record in lines(path)] == ["a", "b"]


def test_only_the_first_rank_writes(folder):
    metrics = MetricsLog(folder, "train-encoder", is_writing=False)
    metrics.log({"step": 1})
    metrics.log_failure(Failure({"id": "a"}, "bad_json", "line 1"))

    assert metrics.failures == {"line 1": "bad_json"}
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoints", "run.json"]
    assert json.loads((folder / "run.json").read_text())["options"] == {"lr": 0.1}
