"""Zstandard files as streams of bytes; one that is cut off says so, which the package does not."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

BLOCK = 1 << 16  # bytes read at once


def open_zst(path: Path, mode: str = "rb") -> BinaryIO:
    """The content of the file at `path`, frame after frame, to read. Raises EOFError at a cut
    or at damage."""
    assert mode == "rb"
    return cast(BinaryIO, io.BufferedReader(_Content(path)))


class _Content(io.RawIOBase):
    def __init__(self, path: Path) -> None:
        self._blocks = _blocks(path)
        self._left = b""
        next(self._blocks)  # opens the file: what is wrong with that is said now

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._left:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._left = block
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count


def _blocks(path: Path) -> Iterator[bytes]:
    """An empty block, then what the file holds."""
    with path.open("rb") as file:
        yield b""
        frame = None
        while packed := file.read(BLOCK):
            while packed:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                try:
                    yield frame.decompress(packed)
                except zstandard.ZstdError as error:
                    raise EOFError(str(error)) from error
                packed = frame.unused_data if frame.eof else b""
                frame = None if frame.eof else frame
        if frame is not None:
            raise EOFError("its last frame has no end")
