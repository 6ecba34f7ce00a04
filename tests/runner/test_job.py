"""The tolerance for failures, and names that are checked before any work."""

from pathlib import Path

import pytest

from megastyle_cli.core.errors import DONE, MegastyleError
from megastyle_cli.core.record import Run
from megastyle_cli.runner.collect_job import CollectJob
from megastyle_cli.runner.job import Source, Tolerance
from megastyle_cli.runner.options import OutputOptions, ReplaceOptions, ReportOptions
from tests.conftest import jsonl


@pytest.mark.parametrize(
    "text, failed, read, fine",
    [
        ("0", 0, 9, True),
        ("0", 1, 9, False),
        ("2", 2, 9, True),
        ("10%", 1, 10, True),
        ("10%", 2, 10, False),
    ],
)
def test_tolerance(text: str, failed: int, read: int, fine: bool) -> None:
    assert Tolerance.parse(text).allows(failed, read) is fine


@pytest.mark.parametrize("text", ["many", "-1", "nan%", "1.5"])
def test_a_tolerance_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(MegastyleError, match="--max-errors"):
        Tolerance.parse(text)


def job_of(tmp_path: Path, **report: object) -> CollectJob:
    source = jsonl(tmp_path / "in.jsonl", [{"id": "a"}])
    return CollectJob(
        Run("pair", {"seed": 0}),
        Source(inputs=[str(source)]),
        output=OutputOptions(output=str(tmp_path / "out.jsonl")),
        existing=ReplaceOptions(),
        report=ReportOptions(quiet=True, **report),  # type: ignore[arg-type]
    )


def test_statistics_must_not_replace_an_output(tmp_path: Path) -> None:
    with pytest.raises(MegastyleError, match="output already"):
        job_of(tmp_path, stats=tmp_path / "out.run.json")


def test_a_plan_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    assert job_of(tmp_path).show_plan() == DONE

    assert capsys.readouterr().err.splitlines() == [
        "pair: plan",
        f"  input    {tmp_path / 'in.jsonl'}: 1 record",
        "  options  seed 0",
        f"  output   {tmp_path / 'out.jsonl'}",
        "Nothing was loaded or written.",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
