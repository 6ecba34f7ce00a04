"""What an action leaves if it is killed: copies of its folder at each of its file operations."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

CHANGES = {
    *("os.rename", "os.remove", "os.truncate", "os.mkdir", "os.rmdir", "os.symlink", "os.link"),
    *("os.chmod", "shutil.rmtree"),
}
_observers: list[Callable[[], None]] = []  # an audit hook stays for the life of the process


def crash_states(folder: Path, action: Callable[[], object]) -> list[Path]:
    """Runs `action`; the states in which a kill could leave `folder`, copied beside it, each once.

    What the process has not flushed is lost by a kill, and is not in the copies.
    """
    states: dict[tuple[object, ...], Path] = {}

    def copy() -> None:
        state = tuple(sorted((str(p), _content(p)) for p in folder.rglob("*")))
        if state not in states:
            states[state] = folder.with_name(f"{folder.name}-killed-{len(states)}")
            shutil.copytree(folder, states[state], symlinks=True)

    with _observed(copy):
        action()
    return list(states.values())


@contextmanager
def _observed(copy: Callable[[], None]) -> Iterator[None]:
    """Inside, `copy` is called before every operation that changes a file, and nothing is synced:
    a kill of the process loses nothing that the system has."""

    def observe() -> None:
        _observers.remove(observe)  # its own operations are none of the action
        try:
            copy()
        finally:
            _observers.append(observe)

    if not _hook_is_set:
        sys.addaudithook(_hook)
        _hook_is_set.append(True)
    _observers.append(observe)
    try:
        with patch("os.fsync"):
            yield
    finally:
        _observers.clear()


_hook_is_set: list[bool] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _observers:
        return
    opens = event == "open" and isinstance(arguments[2], int)
    if event in CHANGES or (opens and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
        _observers[0]()


def _content(path: Path) -> object:
    if path.is_symlink():
        return str(path.readlink())
    return path.read_bytes() if path.is_file() else None
