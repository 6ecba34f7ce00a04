"""Compiling ahead: the commands that compile are run once, on a few records."""

import subprocess
import sys
from tempfile import TemporaryDirectory

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError

RECORDS = "".join(
    f'{{"id": "{i}", "style": "{word} ink on {word} paper, drawn with a {word} brush"}}\n'
    for i, word in enumerate(("blue", "green", "ochre", "grey", "blue"))
)
COMMANDS = (
    ("dedup", "-", "--rejected", "rejected.jsonl", "-o", "kept.jsonl"),
    ("cluster", "-", "--levels", "2", "--sample", "2", "-o", "clusters.jsonl"),
)


def prepare() -> None:
    """Runs each command of COMMANDS, so that its machine code is in the cache.

    Raises MegastyleError (exit 1) if one does not end well.
    """
    with TemporaryDirectory(prefix="megastyle-") as folder:
        for command in COMMANDS:
            line = [sys.executable, "-m", "megastyle_cli", *command, "-q"]
            ended = subprocess.run(line, cwd=folder, input=RECORDS, capture_output=True, text=True)
            if ended.returncode:
                raise MegastyleError(
                    f"megastyle {command[0]} ended with {ended.returncode}",
                    hint=ended.stderr.strip() or "run it by itself",
                    exit_code=UNEXPECTED,
                )
