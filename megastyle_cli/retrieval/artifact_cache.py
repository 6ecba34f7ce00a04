"""Cache of artifacts computed from an index: files in its folder, with metadata and a checksum."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from megastyle_cli.core.atomic_file import (
    atomic_write,
    move_into_place,
    partial_path,
)
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.locked_file import open_locked

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArtifactCache:
    """The cached files of one folder, of rows of this `generation`: rows are added to one, and
    dropped only in the next."""

    folder: Path
    generation: int = 0

    def open(self, name: str) -> tuple[dict[str, Any], BinaryIO] | None:
        """The metadata and the content of an artifact; None if it is not cached.

        Raises MegastyleError if the file does not match its checksum.
        """
        path, note = self.folder / name, self.folder / f"{name}.json"
        if not (path.exists() and note.exists()):
            return None
        try:
            saved = json.loads(note.read_text())
            metadata, digest = dict(saved["facts"]), saved["sha256"]
            if saved.get("generation", 0) != self.generation:
                return None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            digest = None
        with path.open("rb") as file:
            if digest != _sha256(file):
                raise MegastyleError(
                    f"{path} is damaged", hint=f"delete it and {note.name}; both will be rebuilt"
                )
        return metadata, path.open("rb")

    @contextmanager
    def create(self, name: str, metadata: dict[str, Any]) -> Iterator[BinaryIO]:
        """A file to write an artifact to; it is cached once the block has ended without an error.

        In a folder that is not writable nothing is cached, and a warning is logged.
        """
        path, note = self.folder / name, self.folder / f"{name}.json"
        if not os.access(self.folder, os.W_OK):
            log.warning("%s is not cached: the folder is not writable", path)
            with Path(os.devnull).open("wb") as discarded:
                yield discarded
            return
        with open_locked(partial_path(path)) as file, _removed_on_error(partial_path(path)):
            file.truncate(0)
            yield file
            file.check()
            file.seek(0)
            digest = _sha256(file)
            note.unlink(missing_ok=True)  # never metadata beside a file that it does not describe
            file.flush()
            move_into_place(partial_path(path), path)
        facts: dict[str, Any] = {"facts": metadata, "sha256": digest}
        if self.generation:
            facts["generation"] = self.generation
        text = json.dumps(facts, indent=1) + "\n"
        atomic_write(note, text)


@contextmanager
def _removed_on_error(partial: Path) -> Iterator[None]:
    """No run continues half an artifact: it would only take space."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
