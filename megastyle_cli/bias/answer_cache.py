"""Answers of a model about images, kept in a file so that a run that ends early loses none."""

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import canonical_json

FILE = "answers.jsonl"
log = logging.getLogger(__name__)


class AnswerCache:
    """Parsed answers by model, image and question; in `folder`, or without one in memory only.

    Answers are appended as they come, by any number of threads. A line that was cut off is not
    read; its question is asked again.
    """

    def __init__(self, folder: Path | None) -> None:
        self._known: dict[str, Any] = {}
        self._lock = Lock()
        self._path = folder / FILE if folder else None
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            content = self._path.read_bytes()
            for line in content.splitlines():
                self._read(line)
            if content and not content.endswith(b"\n"):
                self._append("\n")  # the next answer begins a line of its own

    def key(self, model: str, image: str, *question: str) -> str:
        """What identifies a question about an image, which is named by a hash of its content."""
        asked = canonical_json([model, image, *question])
        return hashlib.sha256(asked.encode()).hexdigest()[:32]

    def get(self, key: str) -> Any:
        """The answer; None if it is not known."""
        return self._known.get(key)

    def put(self, key: str, answer: Any) -> None:
        """Keeps an answer, which is a JSON value other than null."""
        with self._lock:
            if key in self._known:
                return
            self._known[key] = answer
            self._append(json.dumps({"key": key, "answer": answer}) + "\n")

    def _append(self, text: str) -> None:
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text)

    def _read(self, line: bytes) -> None:
        try:
            found = json.loads(line)
            self._known[str(found["key"])] = found["answer"]
        except (ValueError, KeyError, TypeError):
            return


@contextmanager
def kept_answers(folder: Path | None) -> Iterator[AnswerCache]:
    """The answers in a folder; without one, an error says that they are lost."""
    try:
        yield AnswerCache(folder)
    except MegastyleError:
        if folder is None:
            log.warning("answers are lost: with --cache DIR they are kept for the next run")
        raise
