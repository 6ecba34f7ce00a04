"""What a training needs before it starts: each check says what is missing and what to do."""

from pathlib import Path

import pytest

from megastyle_cli.core.check import Check
from megastyle_cli.core.record import Run
from megastyle_cli.training.common.config import RunOptions
from megastyle_cli.training.common.memory_plan import Footprint, plan_memory
from megastyle_cli.training.common.preflight import (
    check_disk,
    check_memory,
    check_output,
    check_weights,
    existing_parent,
    report_checks,
)
from megastyle_cli.training.common.run_folder import start_run
from megastyle_cli.training.encoder.config import EncoderConfig

RUN = Run("train-encoder", {"steps": 3}, "0")
FOOTPRINT = Footprint(layers=2, tokens=4, kept=1 << 20, inputs=1 << 10, outside=1 << 10)


def test_an_output_that_exists_needs_resume_or_overwrite(tmp_path: Path) -> None:
    assert check_output(RUN, tmp_path / "new" / "run", RunOptions()).ok
    start_run(tmp_path / "run", RUN, overwrite=False)

    check = check_output(RUN, tmp_path / "run", RunOptions())

    assert not check.ok and "--resume" in check.fix
    assert check_output(RUN, tmp_path / "run", RunOptions(resume=True)).ok


def test_weights_are_named_with_their_size(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(bytes(1 << 20))

    assert "1.0 MiB" in check_weights("me/x", tmp_path, [tmp_path / "w.safetensors"]).text
    assert "random weights from --seed" in check_weights("c.json", tmp_path / "c.json", []).text


@pytest.mark.parametrize(("free", "ok"), [(1 << 30, True), (1 << 10, False)])
def test_a_plan_that_does_not_fit_says_what_would_help(free: int, ok: bool) -> None:
    plan = plan_memory(FOOTPRINT, items=8, fixed=1 << 12, free=free)

    check = check_memory(plan, "take less")

    assert (check.ok, check.fix) == (ok, "" if ok else "take less")


def test_more_parameters_than_the_disk_has_room_for(tmp_path: Path) -> None:
    assert check_disk(tmp_path / "run", EncoderConfig(), 1000).ok
    assert not check_disk(tmp_path / "run", EncoderConfig(), 10**15).ok


def test_a_missing_check_is_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    here = Check(topic="Ready to start", name="disk", text="room")
    missing = Check(topic="Ready to start", name="output", text="none", ok=False)

    assert report_checks([here]) == 0
    assert report_checks([here, missing]) == 2
    assert "missing  output  none" in capsys.readouterr().err


def test_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert existing_parent(tmp_path / "a" / "b") == tmp_path
    assert existing_parent(tmp_path) == tmp_path
