"""Compiling ahead leaves machine code in the cache, and nothing else."""

import sys
from pathlib import Path

import pytest

from megastyle_cli.compute.jit import is_anything_kept
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.doctor import prepare as module
from megastyle_cli.doctor.prepare import prepare


def test_what_is_compiled_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert not is_anything_kept()

    prepare()

    assert is_anything_kept()


def test_a_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMAND", (sys.executable, "-c", "raise SystemExit(3)"))

    with pytest.raises(MegastyleError, match="compiling ended with 3"):
        prepare()
