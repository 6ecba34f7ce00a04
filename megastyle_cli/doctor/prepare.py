"""Compiling ahead: in a process of its own, so that this one stays as it is."""

import subprocess
import sys

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError

COMMAND = (sys.executable, "-m", "megastyle_cli.dedup.compile_ahead")


def prepare() -> None:
    """Compiles what the commands use, so that it is in the cache (see `dedup.compile_ahead`).

    Raises MegastyleError (exit 1) if that fails.
    """
    ended = subprocess.run(COMMAND, capture_output=True, text=True)
    if ended.returncode:
        raise MegastyleError(
            f"compiling ended with {ended.returncode}",
            hint=ended.stderr.strip() or "run dedup by itself",
            exit_code=UNEXPECTED,
        )
