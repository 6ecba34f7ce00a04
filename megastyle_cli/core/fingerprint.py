"""Short fingerprints of files, so that a run is not mixed with one that used other files."""

import hashlib
from pathlib import Path

SAMPLE_BYTES = 1 << 16  # read at the start, in the middle and at the end of a file
DIGITS = 8


def file_digest(path: Path) -> str:
    """8 hex digits over all bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]


def weights_digest(path: Path) -> str:
    """8 hex digits over the names, the sizes and samples of a file, or of all files in a folder.

    Weights take gigabytes: reading all of them would cost more than loading them. Other weights of
    the same layout differ in the samples. Hidden files do not count.
    """
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        name = file.relative_to(path)
        if file.is_file() and not any(part.startswith(".") for part in name.parts):
            digest.update(f"{name.as_posix()}\0{file.stat().st_size}\0".encode(errors="replace"))
            digest.update(_samples(file))
    return digest.hexdigest()[:DIGITS]


def _samples(path: Path) -> bytes:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= 3 * SAMPLE_BYTES:
            return file.read()
        parts = []
        for start in (0, size // 2, size - SAMPLE_BYTES):
            file.seek(start)
            parts.append(file.read(SAMPLE_BYTES))
        return b"".join(parts)
