"""Names of generated pictures: after the files they were made from, else after their records' ids.

What is made from photos/a/owl.jpg of the input photos/ is a/owl.png. Files that would share a name,
also where case does not count, all get digits of their ids: a/owl-9f2c41d0.png. So a name follows
from the inputs, whatever their order, the shard or the batch. A stream cannot be read twice to
compare its names: with one among the inputs, every name has the digits.
"""

import os
import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path, PurePath

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.file_kind import is_stream_input
from megastyle_cli.core.record import text_hash
from megastyle_cli.core.shard import PART_NAME
from megastyle_cli.io.formats import FILE_SUFFIXES, PICTURE_SUFFIXES, split_member_name
from megastyle_cli.io.inputs import file_names
from megastyle_cli.io.record_names import hashed_name, safe_name

IMAGES = "images"
MAX_STEM_BYTES = 220  # of the 255 of a file name; the rest is for digits and suffixes
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NO_FOLDER_SUFFIXES = (*FILE_SUFFIXES, ".partial", ".tmp")


class PictureNames:
    """The names of the pictures that are made from the records of `inputs` in the folder `base`."""

    def __init__(self, inputs: Sequence[str], limit: int | None, base: Path) -> None:
        self._inputs, self._limit, self._base = inputs, limit, base
        self._roots = _outermost({_root_of(name) for name in inputs})
        self._has_stream = any(map(is_stream_input, inputs))
        self._folder_for = lru_cache(maxsize=4096)(self._uncached_folder_for)

    def name_for(self, record_id: str, source: object) -> str:
        """The name, relative to `base` and without a suffix, for the picture of a record.

        `source` is the `file_name` that the record was read with, if any. Without one, and for what
        is in a container, hidden, or has a name that not every file system takes, pictures are
        spread over 256 folders by id. Raises MegastyleError if the file lies in `base`, where its
        own picture could replace it.
        """
        stem = self._stem(source)
        if stem is None:
            folder = f"{IMAGES}/{hashed_name(record_id)[:2]}"
            return f"{folder}/{safe_name(record_id, 0, signs='._-')}"
        if self._has_stream or text_hash(comparable(stem)) in self._shared:
            is_hash = re.fullmatch(r"[0-9a-f]{16}", record_id)
            return f"{stem}-{(record_id if is_hash else hashed_name(record_id))[:8]}"
        return stem

    @cached_property
    def _shared(self) -> set[int]:
        """Hashes of the names that more than one record would get."""
        import numpy as np

        stems = filter(None, map(self._stem, file_names(self._inputs, self._limit)))
        hashes = np.fromiter((text_hash(comparable(stem)) for stem in stems), np.uint64)
        found, counts = np.unique(hashes, return_counts=True)
        return set(found[counts > 1].tolist())

    def _stem(self, source: object) -> str | None:
        if not isinstance(source, str) or _CONTROL.search(source):
            return None
        if "://" in source or split_member_name(source):
            return None
        folder, _, name = source.rpartition("/")
        folders = self._folder_for(f"{folder}/" if source.startswith("/") else folder)
        if PurePath(name).suffix.lower() in PICTURE_SUFFIXES:
            name = name[: name.rindex(".")]
        return None if folders is None or not _is_portable(name) else f"{folders}{name}"

    def _uncached_folder_for(self, folder: str) -> str | None:
        """Where pictures of a folder go, with a trailing slash; None if they are named by id."""
        if f"{os.path.realpath(folder)}/".startswith(f"{os.path.realpath(self._base)}/"):
            raise MegastyleError(
                f"{folder or '.'} holds inputs and is in the output {self._base}",
                hint="give -o another directory",
            )
        path = os.path.abspath(folder)  # noqa: PTH100  no links followed
        relative = [os.path.relpath(path, root).split("/") for root in self._roots]
        # of a file outside of all inputs, as a listing may name, what is above them is left out
        nearest = min(relative, key=lambda parts: (parts.count(".."), parts))
        parts = [part for part in nearest if part not in (".", "..")]
        if parts and PART_NAME.fullmatch(parts[0]):
            del parts[0]
        fits = all(map(_is_portable, parts)) and not any(
            part.lower().endswith(_NO_FOLDER_SUFFIXES) for part in parts
        )
        return "".join(f"{part}/" for part in parts) if fits else None


def comparable(name: str) -> str:
    """The same text for names that are one on a file system without case, or with other accents."""
    return unicodedata.normalize("NFC", name).casefold()


def _is_portable(name: str) -> bool:
    """Whether a name without suffix is not hidden and leaves room for a suffix."""
    return bool(name) and not name.startswith(".") and len(name.encode()) <= MAX_STEM_BYTES


def _root_of(name: str) -> str:
    """The folder that names of an input are relative to."""
    if is_stream_input(name):
        return str(Path.cwd())
    path = os.path.abspath(name)  # noqa: PTH100  no links followed
    return path if Path(name).is_dir() else os.path.dirname(path)  # noqa: PTH120


def _outermost(folders: set[str]) -> list[str]:
    """The folders that lie in no other."""
    kept: list[str] = []
    for folder in sorted(folders, key=lambda name: f"{name}/"):
        if not kept or not f"{folder}/".startswith(f"{kept[-1].rstrip('/')}/"):
            kept.append(folder)
    return kept or [str(Path.cwd())]
