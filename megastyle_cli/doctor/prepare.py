"""Compiling ahead: in a process of its own, so that this one stays as it is."""

import subprocess
import sys

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError

MODULES = ("megastyle_cli.dedup.compile_ahead", "megastyle_cli.pair.compile_pairs")
COMMANDS = [(sys.executable, "-m", module) for module in MODULES]


def prepare() -> None:
    """Compiles what the commands use, so that it is in the cache (see `dedup.compile_ahead`).

    Raises MegastyleError (exit 1) if that fails.
    """
    for command in COMMANDS:
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            raise MegastyleError(
                f"compiling ended with {ended.returncode}",
                hint=ended.stderr.strip() or "run dedup or pair by itself",
                exit_code=UNEXPECTED,
            )
