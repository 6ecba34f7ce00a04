"""A run.json says which runs made an output only if it is whole, and records name these runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Run, annotate
from megastyle_cli.io.own_runs import is_own, read_run_file, runs_beside

RUN = Run("caption", {"kind": "style"})
CONTENT = {"command": RUN.command, "run": RUN.key, "version": "1", "options": RUN.options}


@pytest.mark.parametrize(
    "content",
    [
        *(
            "",
            "{",
            "[]",
            "{}",
            "null",
            "[" * 100_000,
            json.dumps({**CONTENT, "options": {"a": float("nan")}}),
        ),
        *(json.dumps({**CONTENT, key: 1}) for key in ("command", "run", "options")),
        json.dumps({**CONTENT, "options": {"kind": "content"}}),
    ],
)
def test_a_forged_or_changed_run_file_is_said_to_be_so(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)

    with pytest.raises(MegastyleError, match=r"run\.json (is damaged|was changed)"):
        read_run_file(tmp_path / "run.json")
    assert not runs_beside(tmp_path / "metadata.jsonl")


def test_the_runs_of_an_output_are_known_and_those_that_force_continued(tmp_path: Path) -> None:
    (tmp_path / "a.run.json").write_text(json.dumps({**CONTENT, "earlier_runs": ["0123abcd"]}))

    runs = runs_beside(tmp_path / "a.jsonl")

    assert runs == {("caption", RUN.key), ("caption", "0123abcd")}
    assert is_own(annotate({"id": "a"}, "caption", run=RUN.key), runs)
    assert is_own(annotate({"id": "a"}, "caption", run="0123abcd"), runs)
    others: list[dict[str, Any]] = [
        {"id": "a"},
        annotate({"id": "a"}, "caption", run="00000000"),
        annotate({"id": "a"}, "dedup", run=RUN.key),
        {"_megastyle": 1},
        {"_megastyle": {"caption": RUN.key}},
    ]
    assert not any(is_own(record, runs) for record in others)
    assert not runs_beside(tmp_path / "b.jsonl")
