"""Embeddings kept on disk by text and model, so that the next command need not make them again.

A folder holds one folder a model, in it segments: `NAME.keys.npy` (n, 16) bytes, a hash of each
text, and `NAME.vectors.npy` (n, d) float32. A segment is written aside and renamed, keys last, so
that a killed run leaves none, and several processes may add to a folder at once. Vectors stay on
disk, mapped; memory holds 24 bytes a text.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.core.atomic_file import atomic_open
from megastyle_cli.core.errors import MegastyleError

Array = npt.NDArray[Any]
EmbedTexts = Callable[[Sequence[str]], npt.NDArray[np.float32]]

SEGMENT = 65_536  # texts a segment at most
SAVE_S = 60.0  # so much of a killed run's work, and a call more, is made again
_KEY = np.dtype("S16")  # compares as bytes do, without the NULs at the end, which hashes may lose


class EmbeddingCache:
    """What `embed` gives for a text, made once: an `Embed` itself, closed to keep the last rows.

    `model` names everything a vector depends on but its text. Rows come back bit for bit.
    Raises MegastyleError if the folder cannot be written, or holds vectors of another width.
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
        self.make, self.advance = embed, advance
        self.num_found = self.num_made = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "model.txt").write_text(model + "\n", errors="backslashreplace")
        except OSError as fault:
            raise MegastyleError(
                f"embeddings cannot be kept in {folder}: {fault.strerror}",
                hint="name another folder, or leave it out",
            ) from fault
        self._vectors: list[Array] = []  # (n, d) of each segment, mapped
        self._keys = np.empty(0, _KEY)  # of all segments, sorted
        self._places = np.empty((0, 2), np.int32)  # their segment and row
        self._new_keys: list[bytes] = []
        self._new_rows: list[Array] = []
        self._saved_s = time.monotonic()
        self._open_segments()

    def __enter__(self) -> "EmbeddingCache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Rows (n, d), those not known yet made in one call and kept."""
        keys = np.array([_key(text) for text in texts], _KEY)
        at = np.searchsorted(self._keys, keys)
        is_known = np.zeros(len(texts), bool)
        inside = np.flatnonzero(at < len(self._keys))
        is_known[inside] = self._keys[at[inside]] == keys[inside]
        missing = np.flatnonzero(~is_known)
        self.num_found += len(texts) - len(missing)
        self.num_made += len(missing)
        if len(missing) < len(texts):
            self.advance(len(texts) - len(missing))
        made = (
            self.make([texts[row] for row in missing.tolist()])
            if len(missing) or not texts
            else None
        )
        if made is not None and not is_known.any():
            rows = np.asarray(made, np.float32)
        else:
            rows = np.empty((len(texts), self._width(made)), np.float32)
            if made is not None:
                rows[missing] = made
            for row in np.flatnonzero(is_known):
                segment, place = self._places[at[row]]
                rows[row] = self._vectors[segment][place]
        if made is not None and len(missing):
            self._new_keys += keys[missing].tolist()
            self._new_rows.append(np.asarray(made, np.float32))
            late = time.monotonic() - self._saved_s >= SAVE_S
            if late or len(self._new_keys) >= SEGMENT:
                self._save()
        return rows

    def close(self) -> None:
        """Keeps what was made since the last full segment."""
        if self._new_keys:
            self._save()

    def _width(self, made: Array | None) -> int:
        widths = {segment.shape[1] for segment in self._vectors}
        widths |= {made.shape[1]} if made is not None else set()
        if len(widths) != 1:
            raise MegastyleError(
                f"{self.folder} holds vectors of {sorted(widths)} numbers", hint="empty the folder"
            )
        return int(widths.pop())

    def _open_segments(self) -> None:
        found, places = [self._keys], [self._places]
        for path in sorted(self.folder.glob("*.keys.npy")):
            try:
                keys = np.load(path, allow_pickle=False)
                vectors = np.load(
                    path.with_name(path.name.replace(".keys.", ".vectors.")),
                    mmap_mode="r",
                    allow_pickle=False,
                )
            except (OSError, ValueError) as fault:
                raise MegastyleError(f"{path} is damaged: {fault}", hint="remove it") from fault
            if keys.ndim != 2 or keys.shape[1:] != (16,) or len(keys) != len(vectors):
                raise MegastyleError(f"{path} does not fit its vectors", hint="remove both")
            found.append(np.ascontiguousarray(keys).view(_KEY)[:, 0])
            rows = np.arange(len(keys))
            places.append(np.stack([np.full(len(keys), len(self._vectors)), rows], 1))
            self._vectors.append(vectors)
        keys = np.concatenate(found)
        order = np.argsort(keys, kind="stable")
        self._keys, self._places = keys[order], np.concatenate(places)[order].astype(np.int32)

    def _save(self) -> None:
        name = secrets.token_hex(8)
        keys = np.array(self._new_keys, _KEY).view(np.uint8).reshape(-1, 16)
        for kind, rows in (("vectors", np.concatenate(self._new_rows)), ("keys", keys)):
            with atomic_open(self.folder / f"{name}.{kind}.npy", durable=True) as file:
                np.save(file, rows)
        self._new_keys, self._new_rows = [], []
        self._saved_s = time.monotonic()


def cached_embedder(
    embed: EmbedTexts,
    model: str,
    folder: Path | None,
    closing: ExitStack,
    advance: Callable[[int], None] = lambda count: None,
) -> EmbedTexts:
    """`embed`, its rows kept in `folder` if one is named; the last ones when `closing` ends.

    `advance` is told how many rows came from the folder.
    """
    if folder is None:
        return embed
    return closing.enter_context(EmbeddingCache(folder, model, embed, advance))


def _key(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
