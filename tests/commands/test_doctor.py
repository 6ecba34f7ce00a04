"""The report of `doctor`: a table or JSON, and an exit code that says whether megastyle works."""

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import Runner, jsonl

HIDING = (
    "import sys; sys.modules['wordllama'] = None;"
    " from megastyle_cli.__main__ import main; sys.argv = ['megastyle', 'doctor', '--json']; main()"
)


def test_the_table_says_that_every_command_works(megastyle: Runner) -> None:
    ended = megastyle("doctor")

    lines = ended.stdout.decode().splitlines()
    assert ended.returncode == 0
    assert lines[0].startswith("megastyle ")
    assert {"Machine", "Packages", "Extras", "Folders", "Models, as downloaded"} <= set(lines)
    assert [line.split()[:2] for line in lines if line.endswith("  works")][0] == ["ok", "caption"]


def test_json_is_one_object_with_the_same_checks(megastyle: Runner) -> None:
    report = json.loads(megastyle("doctor", "--json").stdout)

    assert report["ok"] is True and report["version"]
    assert {check["status"] for check in report["checks"]} <= {"ok", "-"}


def test_a_broken_installation_is_code_2_with_the_line_for_pip() -> None:
    ended = subprocess.run([sys.executable, "-c", HIDING], capture_output=True, text=True)

    report = json.loads(ended.stdout)
    assert ended.returncode == 2 and report["ok"] is False
    broken = {check["name"]: check.get("fix") for check in report["checks"] if not check["ok"]}
    assert broken["dedup"] == broken["cluster"] == "pip install wordllama"


def test_a_command_line_is_checked_and_not_started(megastyle: Runner, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "in.jsonl", [{"style": "ink"}])

    ended = megastyle("doctor", "--", "megastyle", "dedup", source, "-o", tmp_path / "out.jsonl")

    assert ended.returncode == 0
    assert b"would" in ended.stderr or b"plan" in ended.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_a_command_line_that_cannot_run_keeps_its_error_and_code(megastyle: Runner) -> None:
    ended = megastyle("doctor", "--", "dedup", "no-such-file.jsonl", "--embedder", "nope")

    assert ended.returncode == 2
    assert b"nope" in ended.stderr
