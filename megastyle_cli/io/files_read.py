"""What inputs name twice is read once: the same file or folder again, or a file of a named folder.

Files are told apart by their paths, with links to folders followed. Two records in one file stay
two, and so do two files of equal content.
"""

import logging
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from megastyle_cli.core.file_kind import is_stream_input

log = logging.getLogger(__name__)


def distinct(inputs: Sequence[str]) -> list[str]:
    """The inputs without those that were named before, also by another name; streams stay."""
    first: dict[str, str] = {}
    for number, name in enumerate(inputs):
        key = f"stream {number}" if is_stream_input(name) else os.path.realpath(name)
        first.setdefault(key, name)
    return list(first.values())


class FilesRead:
    """The files that were read so far; it remembers none unless one input is inside another."""

    def __init__(self, inputs: Sequence[str]) -> None:
        real = [os.path.realpath(name) for name in inputs if not is_stream_input(name)]
        folders = {path for path in real if Path(path).is_dir()} if len(real) > 1 else set()
        self.may_repeat = any(
            str(parent) in folders for path in real for parent in Path(path).parents
        )
        self.num_repeated = 0
        self._paths: set[str] = set()
        self._real_folder = lru_cache(maxsize=4096)(os.path.realpath)

    def is_new(self, path: str | Path) -> bool:
        """Whether nobody asked for this file before; it counts as read from now on."""
        if not self.may_repeat:
            return True
        folder, name = os.path.split(path)
        real = f"{self._real_folder(folder)}/{name}"
        is_new = real not in self._paths
        self._paths.add(real)
        self.num_repeated += not is_new
        return is_new
