"""Compressed outputs: the stream that a suffix asks for, the same bytes from the same lines."""

import bz2
import gzip
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from megastyle_cli.io.formats import JSON_LINES

Compressor = Callable[[BinaryIO], BinaryIO]


def compressor_for(path: Path) -> Compressor | None:
    """A compressor into an open file, by the suffix of `path`; None for other suffixes."""
    suffix = path.suffix.lower()
    return _COMPRESSORS[suffix] if suffix in JSON_LINES.compressions else None


def _zstd(file: BinaryIO) -> BinaryIO:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return cast(BinaryIO, zstd.ZstdFile(file, "wb"))


_COMPRESSORS: dict[str, Compressor] = {
    # no name and no time, which would differ from run to run
    ".gz": lambda file: cast(BinaryIO, gzip.GzipFile("", "wb", fileobj=file, mtime=0)),
    ".bz2": lambda file: cast(BinaryIO, bz2.BZ2File(file, "wb")),
    ".xz": lambda file: cast(BinaryIO, lzma.LZMAFile(file, "wb")),  # noqa: SIM115
    ".zst": _zstd,
}
