"""Compressed files as bytes: .gz, .bz2, .xz and .zst, also of several streams one after another.

A file that is cut off, or that holds something else behind a stream, is an error. Python's own bz2
and lzma files would end there silently, and the file would look shorter than it is.
"""

import bz2
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol, cast

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.file_kind import require_regular

BLOCK = 1 << 16  # bytes read at once
SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error)  # what reading a damaged file raises


@contextmanager
def open_decompressed(path: Path) -> Iterator[IO[bytes]]:
    """The content of a file, decompressed as its suffix says; of another suffix as it is.

    Raises MegastyleError, also while it is read, if the content is cut off or damaged.
    """
    try:
        require_regular(path)
        with _opened(path) as content:
            yield content
    except DAMAGE as error:
        raise MegastyleError(
            f"{path} is cut off or damaged: {error}", hint="create it again"
        ) from error


def _opened(path: Path) -> IO[bytes]:
    match path.suffix.lower():
        case ".gz":
            return cast(IO[bytes], gzip.open(path, "rb"))
        case ".bz2":
            return io.BufferedReader(_Streams(path, bz2.BZ2Decompressor))
        case ".xz":
            return io.BufferedReader(_Streams(path, lzma.LZMADecompressor, padding=4))
        case ".zst":
            if sys.version_info >= (3, 14):
                from compression import zstd
            else:
                from backports import zstd
            return io.BufferedReader(_Streams(path, zstd.ZstdDecompressor))
    return path.open("rb")


class _Decompressor(Protocol):
    """One stream, as in the modules bz2, lzma and compression.zstd."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Streams(io.RawIOBase):
    """The content of compressed streams, between which there may be multiples of `padding` NULs.

    Raises EOFError if the file ends inside a stream, or holds anything else.
    """

    def __init__(self, path: Path, start: Callable[[], _Decompressor], padding: int = 0) -> None:
        self._file = path.open("rb")
        self._start, self._padding = start, padding
        self._stream = start()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            packed = b""
            if self._stream.eof:
                packed = self._next_stream()
                if not packed:
                    return 0
                self._stream = self._start()
            elif self._stream.needs_input:
                packed = self._file.read(BLOCK)
                if not packed:
                    raise EOFError("it ends inside a compressed stream")
            try:
                content = self._stream.decompress(packed, len(buffer))
            except Exception as error:  # each package has an error of its own
                raise EOFError(str(error)) from error
            if content:
                buffer[: len(content)] = content
                return len(content)

    def _next_stream(self) -> bytes:
        """The bytes behind the stream that has ended and its padding; empty at the end."""
        packed = self._stream.unused_data or self._file.read(BLOCK)
        zeros = 0
        while self._padding and packed.startswith(b"\0"):
            rest = packed.lstrip(b"\0")
            zeros += len(packed) - len(rest)
            packed = rest or self._file.read(BLOCK)
        if self._padding and zeros % self._padding:
            raise EOFError(f"{zeros} zero bytes follow the compressed stream")
        return packed

    def close(self) -> None:
        self._file.close()
        super().close()
