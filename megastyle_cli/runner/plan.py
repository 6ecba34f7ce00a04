"""What a dry run prints: what would be read, loaded and written, a line each."""

import shutil
import textwrap
from collections.abc import Collection, Mapping
from typing import Any

from megastyle_cli.runner.progress import say

LABEL = 8  # width of the first column
MAX_COLUMNS = 10_000  # in a log lines are not wrapped
MODEL_KEYS = ("backend", "model", "model_digest")  # of recorded options
UNITS = ("bytes", "kB", "MB", "GB", "TB")


class Plan:
    """The lines of a plan; `show` prints them on stderr."""

    def __init__(self, command: str) -> None:
        self.command = command
        self._rows: list[tuple[str, str]] = []

    def add(self, label: str, text: str) -> None:
        """Adds a line, unless there is nothing to say."""
        if text:
            self._rows.append((label, text))

    def show(self) -> None:
        """Prints the plan; long lines are wrapped."""
        say(f"{self.command}: plan")
        width = max(LABEL, *(len(label) for label, _ in self._rows))
        room = max(40, shutil.get_terminal_size((MAX_COLUMNS, 24)).columns - 1 - width - 3)
        for label, text in self._rows:
            lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
            for first, line in zip([label, *[""] * (len(lines) - 1)], lines, strict=True):
                say(f"  {first:{width}} {line}")
        say("Nothing was loaded or written.")


def describe_options(options: Mapping[str, Any], hidden: Collection[str] = ()) -> str:
    """Recorded options in words, `seed 0, steps 40`, but those that are off or `hidden`."""
    return ", ".join(
        f"{name.replace('_', ' ')}{'' if value is True else f' {_in_words(value)}'}"
        for name, value in options.items()
        if name not in hidden
        and value is not None
        and value is not False
        and value != []
        and value != {}
    )


def describe_model(options: Mapping[str, Any]) -> str:
    """The backend, or the model that it runs, from recorded options; empty if there is none.

    Of a hub model that is not on this machine it says so.
    """
    model, backend = options.get("model"), str(options.get("backend", ""))
    if not model:
        return backend
    has_own_names = backend == "openai" or ":" in backend
    if has_own_names or "/" not in str(model):
        return f"{model} ({backend})"
    from megastyle_cli.models.hub import download_if_missing

    line = download_if_missing(str(model))
    return f"{model} ({backend})" + (f", not downloaded: {line}" if line else "")


def format_size(num_bytes: float) -> str:
    """A size as people write it: 310 MB."""
    unit = 0
    while num_bytes >= 999.5 and unit < len(UNITS) - 1:
        num_bytes, unit = num_bytes / 1000, unit + 1
    return (
        f"{num_bytes:.1f} {UNITS[unit]}"
        if unit > 0 and num_bytes < 10
        else (f"{num_bytes:.0f} {UNITS[unit]}")
    )


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return f"({describe_options(value)})"
    if isinstance(value, list | tuple):
        return " ".join(_in_words(one) for one in value if one is not None)
    if isinstance(value, float):
        return f"{value:g}"
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if is_number else str(value)
