"""benchmarks/how_fast.py: what it measures, and the tables of docs/how-fast.md."""

import json
import sys
from pathlib import Path

import pytest

from megastyle_cli.app import COMMANDS, TOOLS
from tests.contract.tree import ROOT

sys.path.insert(0, str(ROOT))  # as benchmarks are run from there

from benchmarks import how_fast
from benchmarks.how_fast import RECORDS, TASKS


def test_every_command_of_every_task_has_figures() -> None:
    kept = json.loads(how_fast.FIGURES.read_text())["rows"]

    figures = {(row["task"], row["tool"], row["count"]) for row in kept}
    wanted = {(t.name, tool, n) for t in TASKS for tool in t.commands for n in t.sizes}
    largest = {(t.name, tool, t.sizes[-1]) for t in TASKS for tool in t.commands}
    assert figures <= wanted and wanted - figures <= largest


def test_every_command_that_processes_records_is_measured() -> None:
    run = " ".join(command for task in TASKS for command in task.commands.values())

    missing = {name for name in (*COMMANDS, *TOOLS) if f"megastyle {name} " not in run}
    not_measured = {"train-encoder", "train-flux", "status", "doctor", "completion"}
    assert missing == not_measured, "add a task to benchmarks/how_fast.py, and measure it"


def test_growth_is_that_of_ten_times_as_many_records() -> None:
    times = (0.5, 0.5, 5.0), (0.5, 1.0, 4.0)
    rows = [
        {"task": "copies", "tool": tool, "count": count, "cpu_s": cpu_s, "peak_mb": 60}
        for tool, known in zip(("awk", "duckdb"), times, strict=True)
        for count, cpu_s in zip(RECORDS, known, strict=True)
    ]

    table = how_fast._table(rows, RECORDS)

    awk = next(line for line in table.splitlines() if "| awk |" in line)
    duckdb = next(line for line in table.splitlines() if "| duckdb |" in line)
    assert awk.endswith("| 0.50 s, 60 MB | 0.50 s, 60 MB | 5.00 s, 60 MB | 10.0 times |")
    assert duckdb.endswith("| 4.0 times |")


@pytest.mark.parametrize("task", [task for task in TASKS if task.name in ("copies", "pairs")])
def test_inputs_have_as_many_records_as_they_should(task: how_fast.Task, tmp_path: Path) -> None:
    task.prepare(tmp_path, 80)

    lines = {path.name: path.read_text().count("\n") for path in tmp_path.iterdir()}
    assert lines in ({"prompts.jsonl": 80}, {"styles.jsonl": 10, "contents.jsonl": 20})


def test_time_and_memory_are_those_of_the_command(tmp_path: Path) -> None:
    work = f"{sys.executable} -c 'bytearray([1]) * 200_000_000'"

    cpu_s, peak_mb = how_fast.measure(f"{work} | cat", tmp_path, Path(sys.executable).parent)

    assert cpu_s > 0 and 200 <= peak_mb < 2000
