"""What is compiled ahead is kept, and is all that a run compiles."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import jsonl
from tests.dedup.helpers import prompts

DEDUP = [sys.executable, "-m", "megastyle_cli", "dedup", "a.jsonl", "--no-semantic"]


def test_a_run_finds_all_that_it_needs(
    compiled_ahead: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [*prompts(1200, 0), "\u00fc \u30ab\u30bf", *(f"w{row}" for row in range(3000))]
    plain = [{"id": str(row), "style": text} for row, text in enumerate(texts)]
    jsonl(tmp_path / "a.jsonl", [*plain, *({**one, "cost": 0.5} for one in plain)])
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(compiled_ahead))
    names = sorted(compiled_ahead.iterdir())

    for flags in ([], ["--preset", "contents"], ["--keep", "longest"]):
        ended = subprocess.run([*DEDUP, *flags], cwd=tmp_path, check=True, capture_output=True)
        assert b"compiling" not in ended.stderr
    assert sorted(compiled_ahead.iterdir()) == names
