"""Captions in files beside pictures, as kohya, gallery-dl, Civitai and img2dataset write them."""

import logging
import os
from collections import Counter
from collections.abc import Set
from pathlib import Path
from typing import Any

import orjson

from megastyle_cli.core.limits import max_item_bytes
from megastyle_cli.io.formats import counted

# of a.jpg, by precedence; each replaces .jpg or follows it
SUFFIXES = (".txt", ".caption", ".json")
KEYS = ("caption", "text", "prompt", "description")  # of a .json, also under `meta`
log = logging.getLogger(__name__)


def caption_file(picture: str, files: Set[str]) -> str | None:
    """Which of `files` holds the caption of a picture."""
    if not files:
        return None
    stem = os.path.splitext(picture)[0]  # noqa: PTH122  a million names
    names = (base + suffix for suffix in SUFFIXES for base in (stem, picture))
    return next((name for name in names if name in files), None)


class CaptionReader:
    """Reads the captions below a folder; those that are not readable are counted at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unread: Counter[str] = Counter()

    def read(self, name: str) -> str | None:
        """The caption in a file; None if there is none."""
        path = Path(name)
        try:
            if path.stat().st_size > max_item_bytes():
                raise ValueError("larger than --max-item-size")
            content = path.read_bytes()
            if path.suffix.lower() == ".json":
                return _caption(orjson.loads(content.removeprefix(b"\xef\xbb\xbf")))
            return content.decode("utf-8-sig").strip()
        except (OSError, ValueError):
            self._unread[path.suffix.lower()] += 1
            return None

    def warn_unread(self) -> None:
        """Counts the files that were no captions in one line."""
        if self._unread:
            what = counted(self._unread)
            log.warning("%s: unreadable captions are skipped: %s", self._folder, what)


def _caption(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    texts = (value.get(key) for key in KEYS)
    found = next((text.strip() for text in texts if isinstance(text, str) and text.strip()), None)
    return found or _caption(value.get("meta"))
