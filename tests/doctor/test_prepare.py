"""Compiling ahead leaves machine code in the cache, and nothing else."""

from pathlib import Path

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.doctor import prepare as module
from megastyle_cli.doctor.prepare import prepare


def test_the_commands_that_compile_run_to_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    prepare()

    assert list(tmp_path.iterdir()) == []


def test_a_command_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMANDS", (("dedup", "--no-such-flag"),))

    with pytest.raises(MegastyleError, match="megastyle dedup ended with 2"):
        prepare()
