"""What is compiled ahead is all that a run compiles."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import jsonl

PAIR = [sys.executable, "-m", "megastyle_cli", "pair", "a.jsonl", "--contents", "b.jsonl", "-q"]


def test_a_run_finds_all_that_was_compiled(
    compiled_ahead: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, key in (("a", "style"), ("b", "content")):
        records = [{"id": f"{row % 1500}", key: "x", "file_name": "y/z.png"} for row in range(2000)]
        jsonl(tmp_path / f"{name}.jsonl", [{**one, "cost": 1e-9} for one in records[:9]] + records)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(compiled_ahead))
    names = sorted(compiled_ahead.iterdir())
    (tmp_path / "out").mkdir()

    for number, flags in enumerate(([], ["--ids", "official"], ["--max-uses", "20"])):
        output = ["-o", f"out/{number}.jsonl", *flags]
        ended = subprocess.run([*PAIR, *output], cwd=tmp_path, check=True, capture_output=True)
        assert b"compiling" not in ended.stderr
    assert sorted(compiled_ahead.iterdir()) == names
