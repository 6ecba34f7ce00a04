"""A failure to compile ahead is reported; what is kept: tests/dedup/test_compile_ahead.py."""

import sys

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.doctor import prepare as module
from megastyle_cli.doctor.prepare import prepare


def test_a_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMANDS", [(sys.executable, "-c", "raise SystemExit(3)")])

    with pytest.raises(MegastyleError, match="compiling ended with 3"):
        prepare()
