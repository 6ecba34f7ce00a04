"""The settings of a benchmark as a file beside its records."""

import json
from pathlib import Path
from typing import Any

from megastyle_cli.core.atomic_file import write_atomically
from megastyle_cli.core.errors import MegastyleError

FILE = "benchmark.json"


def check_folder(folder: Path) -> None:
    """Raises MegastyleError if `folder` holds records that are no benchmark's: they would go."""
    if (folder / "metadata.jsonl").exists() and not (folder / FILE).exists():
        raise MegastyleError(
            f"{folder} holds pictures of its own", hint="give --make-benchmark a new folder"
        )


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Writes benchmark.json, last of all: with it the benchmark is complete."""
    write_atomically(folder / FILE, json.dumps(settings, indent=1) + "\n")


def read_settings(folder: Path) -> dict[str, Any]:
    """What `write_settings` wrote. Raises MegastyleError if it is not there or not whole."""
    path = folder / FILE
    try:
        told = json.loads(path.read_text())
    except FileNotFoundError:
        raise MegastyleError(
            f"{folder} is no benchmark: it holds no {FILE}", hint="make one with --make-benchmark"
        ) from None
    except (OSError, ValueError) as error:
        raise MegastyleError(f"{path} cannot be read: {error}", hint="make it again") from error
    if not isinstance(told, dict):
        raise MegastyleError(f"{path} holds no settings", hint="make it again")
    return told
