"""JSON files written by the toolkit itself; damage raises an error that names it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megastyle_cli.core.errors import MegastyleError

_HINT = "restore it from a copy, or --overwrite to start again"


def read_object(path: Path, hint: str = _HINT, **types: type) -> dict[str, Any]:
    """The object in a file.

    Raises MegastyleError if it holds anything else, or no value of these types under these keys.
    """
    return _parse(path.read_bytes(), str(path), hint, types)


def complete_objects(path: Path, **types: type) -> Iterator[dict[str, Any]]:
    """The objects in the complete lines of a file: a kill may have cut off the last one.

    Raises MegastyleError as `read_object` does.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.endswith(b"\n") and line.strip():
                yield _parse(line, f"{path} line {number}", _HINT, types)


def _parse(content: bytes, name: str, hint: str, types: dict[str, type]) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise MegastyleError(f"{name} is damaged: it is not valid JSON", hint=hint) from None
    if not isinstance(found, dict):
        raise MegastyleError(f"{name} is damaged: it is not a JSON object", hint=hint)
    for key, kind in types.items():
        if not isinstance(found.get(key), kind):
            raise MegastyleError(f"{name} is damaged: {key} is {found.get(key)!r}", hint=hint)
    return found
