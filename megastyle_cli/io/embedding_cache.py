"""Cache of text embeddings on disk, shared by runs and commands.

The folder holds one folder for each model, and in it segments: `NAME.keys.npy` (n, 16) bytes, a
hash of each text, and `NAME.vectors.npy` (n, d) float32. The keys of a segment are written last, so
that a killed run leaves no incomplete one, and several processes may add segments at once. Vectors
stay on disk, memory-mapped; memory holds 24 bytes for each text.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b, sha256
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.core.atomic_file import atomic_open
from megastyle_cli.core.errors import DISK_FAILED, MegastyleError

Array = npt.NDArray[Any]
EmbedTexts = Callable[[Sequence[str]], npt.NDArray[np.float32]]

MAX_SEGMENT = 65_536  # texts
SAVE_S = 60.0  # a killed run loses the embeddings of about this time
_KEY = np.dtype("S16")  # compares as bytes do; NULs at the end of a hash do not count


class EmbeddingCache:
    """An embedder that calls `embed` only for texts that are not in the cache yet.

    `model` names everything that a vector depends on besides its text. Rows come back bit for bit.
    `advance` is called with the number of rows that came from the cache. Raises MegastyleError if
    the folder is not writable, is damaged, or holds vectors of another width.
    """

    def __init__(
        self,
        folder: Path,
        model: str,
        embed: EmbedTexts,
        advance: Callable[[int], None] = lambda count: None,
    ) -> None:
        name = sha256(model.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self.folder = folder.expanduser() / name
        self.embed, self.advance = embed, advance
        self.num_found = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "model.txt").write_text(model + "\n", errors="backslashreplace")
        except OSError as error:
            if error.errno in DISK_FAILED:
                raise
            raise MegastyleError(
                f"{folder} cannot cache embeddings: {error.strerror}",
                hint="give another --cache folder, or omit --cache",
            ) from error
        self._vectors: list[Array] = []  # (n, d) of each segment, memory-mapped
        self._keys = np.empty(0, _KEY)  # of all segments, sorted
        self._positions = np.empty((0, 2), np.int32)  # segment and row of each key
        self._new_keys: list[bytes] = []
        self._new_rows: list[Array] = []
        self._saved_s = time.monotonic()
        self._open_segments()

    def __enter__(self) -> "EmbeddingCache":
        return self

    def __exit__(self, *_: object) -> None:
        if self._new_keys:
            self._save()

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embeddings (n, d) float32; those that are not cached are made in one call of `embed`."""
        keys = np.array([_key(text) for text in texts], _KEY)
        at = np.searchsorted(self._keys, keys)
        is_cached = np.zeros(len(texts), bool)
        inside = np.flatnonzero(at < len(self._keys))
        is_cached[inside] = self._keys[at[inside]] == keys[inside]
        cached, missing = np.flatnonzero(is_cached), np.flatnonzero(~is_cached)
        self.num_found += len(cached)
        if not len(cached):
            rows = made = np.asarray(self.embed(list(texts)), np.float32)
            self._check_width(rows.shape[1])
        else:
            self.advance(len(cached))
            rows = np.empty((len(texts), self._vectors[0].shape[1]), np.float32)
            for row, (segment, position) in zip(cached, self._positions[at[cached]], strict=True):
                rows[row] = self._vectors[segment][position]
            made = np.empty((0, rows.shape[1]), np.float32)
            if len(missing):
                made = np.asarray(self.embed([texts[row] for row in missing.tolist()]), np.float32)
                self._check_width(made.shape[1])
                rows[missing] = made
        if len(missing):
            self._add(keys[missing].tolist(), made)
        return rows

    def _add(self, keys: list[bytes], rows: Array) -> None:
        self._new_keys += keys
        self._new_rows.append(rows)
        is_late = time.monotonic() - self._saved_s >= SAVE_S
        if is_late or len(self._new_keys) >= MAX_SEGMENT:
            self._save()

    def _check_width(self, *new: int) -> None:
        widths = {*new, *(segment.shape[1] for segment in self._vectors)}
        if len(widths) > 1:
            raise MegastyleError(
                f"{self.folder} holds vectors of different widths: {sorted(widths)}",
                hint="delete its files",
            )

    def _open_segments(self) -> None:
        keys, positions = [self._keys], [self._positions]
        for path in sorted(self.folder.glob("*.keys.npy")):
            hashes = _load_rows(path, "u1")
            vectors = _load_rows(path.with_name(path.name.replace(".keys.", ".vectors.")), "f4")
            if hashes.shape[1:] != (16,) or len(hashes) != len(vectors):
                raise MegastyleError(f"{path} does not match its vectors file", hint="delete both")
            keys.append(np.ascontiguousarray(hashes).view(_KEY)[:, 0])
            segment = np.full(len(hashes), len(self._vectors))
            positions.append(np.stack([segment, np.arange(len(hashes))], 1))
            self._vectors.append(vectors)
        self._check_width()
        every_key = np.concatenate(keys)
        order = np.argsort(every_key, kind="stable")
        self._keys = every_key[order]
        self._positions = np.concatenate(positions)[order].astype(np.int32)

    def _save(self) -> None:
        name = secrets.token_hex(8)
        keys = np.array(self._new_keys, _KEY).view(np.uint8).reshape(-1, 16)
        for kind, rows in (("vectors", np.concatenate(self._new_rows)), ("keys", keys)):
            with atomic_open(self.folder / f"{name}.{kind}.npy") as file:
                np.save(file, rows)
        self._new_keys, self._new_rows = [], []
        self._saved_s = time.monotonic()


def _key(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _load_rows(path: Path, dtype: str) -> Array:
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, TokenError) as error:  # a header is read as Python
        if isinstance(error, OSError) and error.errno in DISK_FAILED:
            raise
        raise MegastyleError(f"{path} is damaged: {error}", hint="delete it") from error
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype != dtype:
        raise MegastyleError(f"{path} is damaged: it holds no rows of vectors", hint="delete it")
    return rows
