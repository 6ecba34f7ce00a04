"""Around a training: the folder is locked and restored, failures counted, the end reported."""

import json

import pytest
from accelerate.state import AcceleratorState

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Run
from megastyle_cli.runner.job import Tolerance
from megastyle_cli.runner.options import ReportOptions
from megastyle_cli.training.common.config import RunOptions
from megastyle_cli.training.common.run import (
    TrainingResult,
    announce,
    open_run,
    report_result,
)
from tests.conftest import lines

BROKEN = [Failure({"id": name}, "bad_image", f"{name}.png is empty") for name in "ab"]


@pytest.fixture(autouse=True)
def reset_accelerate():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def opened(folder, max_errors="0", failures=(), report=None, lr=0.1, **options):
    AcceleratorState._reset_state(reset_partial_state=True)
    return open_run(
        Run("train-encoder", {"lr": lr}, "1"),
        folder,
        global_batch=4,
        num_read=10,
        num_used=8,
        failures=failures,
        options=RunOptions(**options),
        tolerance=Tolerance.parse(max_errors),
        report=report or ReportOptions(quiet=True),
    )


def result(step, num_steps, finished=None):
    return TrainingResult(
        step=step,
        num_steps=num_steps,
        losses={"loss": 0.5},
        held_out={"map_10": 0.25},
        finished=finished,
    )


def test_the_folder_is_locked_inside_and_free_afterwards(tmp_path):
    with (
        opened(tmp_path / "run"),
        pytest.raises(MegastyleError, match="another process is training"),
        opened(tmp_path / "run", resume=True),
    ):
        pass

    with opened(tmp_path / "run", resume=True) as run:
        assert run.folder == tmp_path / "run" and not run.should_stop()


def test_a_usage_error_in_a_new_run_leaves_no_folder(tmp_path):
    with pytest.raises(MegastyleError, match="no model"), opened(tmp_path / "run"):
        raise MegastyleError("no model")

    assert not (tmp_path / "run").exists()


def test_a_usage_error_in_a_resumed_run_keeps_it(tmp_path):
    with opened(tmp_path / "run"):
        pass
    with pytest.raises(MegastyleError, match="no model"), opened(tmp_path / "run", resume=True):
        raise MegastyleError("no model")

    assert (tmp_path / "run" / "run.json").exists()


def test_a_run_of_other_options_is_not_resumed(tmp_path):
    with opened(tmp_path / "run"):
        pass

    with (
        pytest.raises(MegastyleError, match="lr was 0.1 and is 0.2"),
        opened(tmp_path / "run", lr=0.2, resume=True),
    ):
        pass
    with opened(tmp_path / "run", lr=0.2, resume=True, force=True):
        pass


def test_too_many_unusable_records_end_it_before_it_starts(tmp_path):
    with (
        pytest.raises(MegastyleError, match="2 records cannot be used") as error,
        opened(tmp_path / "run", max_errors="10%", failures=BROKEN),
    ):
        raise AssertionError("the block is not entered")

    assert error.value.exit_code == 3
    assert [record["id"] for record in lines(tmp_path / "run" / "errors.jsonl")] == ["a", "b"]
    with opened(tmp_path / "run", max_errors="20%", failures=BROKEN, resume=True) as run:
        assert run.log_failures(BROKEN) == []  # logged already


def test_a_finished_run_prints_its_weights_and_writes_its_statistics(tmp_path, capfdbinary):
    report = ReportOptions(stats=tmp_path / "stats.json")
    with opened(tmp_path / "run", max_errors="2", failures=BROKEN, report=report) as run:
        pass

    code = report_result(result(7, 7, tmp_path / "run" / "encoder"), run)

    stdout, stderr = capfdbinary.readouterr()
    (line,) = lines(stdout)
    assert code == 0 and line["checkpoint"] == str(tmp_path / "run" / "encoder")
    assert line["held_out"] == {"map_10": 0.25} and line["loss"] == 0.5
    assert "train-encoder: step 7 of 7 \u00b7 loss 0.5000 \u00b7 2 unusable" in stderr.decode()
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert (stats["in"], stats["out"], stats["kinds"]) == (10, 8, {"bad_image": 2})


def test_the_statistics_say_how_far_a_training_is(tmp_path):
    path = tmp_path / "stats.json"
    with opened(tmp_path / "run", report=ReportOptions(stats=path, quiet=True)) as run:
        with run.track_progress(3, 10) as progress:
            begun = json.loads(path.read_text())
            progress.file.interval_s = 0
            progress.update(5, {"loss": 0.5})
            running = json.loads(path.read_text())
        with pytest.raises(RuntimeError), run.track_progress(5, 10):
            raise RuntimeError

    assert (begun["state"], begun["step"], begun["steps"]) == ("running", 3, 10)
    assert (running["step"], running["loss"]) == (5, 0.5) and running["steps_per_s"] > 0
    assert running["eta_s"] >= 0 and running["in"] == 10
    assert json.loads(path.read_text())["state"] == "stopped"


def test_a_stopped_run_is_exit_75_without_a_json_line(tmp_path, capfdbinary):
    with opened(tmp_path / "run", report=ReportOptions()) as run:
        pass

    code = report_result(result(3, 7), run)

    stdout, stderr = capfdbinary.readouterr()
    assert code == 75 and stdout == b"" and b"--resume continues" in stderr


def test_a_dry_run_announces_what_would_be_done(tmp_path, capfdbinary):
    command, folder = "train-flux", tmp_path / "run"
    announce(command, "8 pictures", "5 steps", folder, ReportOptions(dry_run=True))
    announce(command, "8 pictures", "5 steps", folder, ReportOptions(quiet=True))

    assert capfdbinary.readouterr().err.decode().splitlines() == [
        "train-flux: plan",
        "  input    8 pictures",
        "  training 5 steps",
        f"  output   {folder}/",
        "Nothing was loaded or written.",
    ]
