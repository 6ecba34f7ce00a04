"""What was computed from an index and is kept in its folder: each a file with facts and a hash."""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from megastyle_cli.core.atomic_file import (
    atomic_write,
    move_into_place,
    open_locked,
    partial_path,
)
from megastyle_cli.core.errors import MegastyleError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shelf:
    """The kept files of one folder."""

    folder: Path

    def take(self, name: str) -> tuple[dict[str, Any], BinaryIO] | None:
        """The facts and the file kept as `name`, None if there is none.

        Raises MegastyleError if the file is not what was kept.
        """
        path, note = self.folder / name, self.folder / f"{name}.json"
        if not (path.exists() and note.exists()):
            return None
        try:
            told = json.loads(note.read_text())
            facts, digest = dict(told["facts"]), told["sha256"]
        except (ValueError, TypeError, KeyError):
            digest = None
        with path.open("rb") as file:
            if digest != _sha256(file):
                raise MegastyleError(
                    f"{path} is damaged", hint=f"delete it and {note.name}: both are made again"
                )
        return facts, path.open("rb")

    def keep(self, name: str, facts: dict[str, Any], write: Callable[[BinaryIO], None]) -> None:
        """Keeps what `write` writes as `name`, whole or not at all; not in a folder for reading."""
        path, note = self.folder / name, self.folder / f"{name}.json"
        if not os.access(self.folder, os.W_OK):
            log.warning("%s is not kept: the folder is not writable", path)
            return
        file = open_locked(partial_path(path))
        file.truncate(0)
        write(file)
        file.seek(0)
        digest = _sha256(file)
        note.unlink(missing_ok=True)  # never facts beside a file that is not theirs
        file.flush()
        move_into_place(partial_path(path), path, durable=True)
        file.close()
        text = json.dumps({"facts": facts, "sha256": digest}, indent=1) + "\n"
        atomic_write(note, text, durable=False)


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    for block in iter(lambda: file.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()
