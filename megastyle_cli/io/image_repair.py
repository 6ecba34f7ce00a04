"""Pictures whose pixels are whole although their file is damaged, as browsers show them.

In a PNG, text and checksums of chunks that no pixel needs; in a JPEG, the missing mark of its end.
And the names of formats that are not read.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import IO

import simplejpeg

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
MAX_PROFILE_BYTES = 16 << 20  # decompressed; print profiles take a few megabytes
_CHUNK = struct.Struct(">I4s")


def repaired(damaged: IO[bytes]) -> bytes | None:
    """A file that decodes to the picture in `damaged`; None unless all its pixels are intact."""
    head = damaged.read(len(PNG_SIGNATURE))
    if head == PNG_SIGNATURE:
        return PNG_SIGNATURE + b"".join(_needed_chunks(head + damaged.read()))
    if head.startswith(JPEG_START):
        ended = head + damaged.read() + JPEG_END
        return ended if _is_whole_jpeg(ended) else None
    return None


def format_name(head: bytes) -> str | None:
    """The format recognized in the first bytes (at least 512) of a file; None if it is unknown."""
    if head[4:8] == b"ftyp":
        is_heif = head[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
        return "HEIC" if is_heif else "video or camera raw"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "SVG"
    return next((name for start, name in _STARTS.items() if text.startswith(start.lower())), None)


_STARTS = {
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"8BPS": "Photoshop",
    b"%PDF": "PDF",
    b"%!PS": "PostScript",
    b"<!doctype html": "HTML",
    b"<html": "HTML",
    b"version https://git-lfs": "Git LFS pointer",
}


def _needed_chunks(png: bytes) -> Iterator[bytes]:
    """The chunks that the pixels need, as they are, and whole ones of colour and orientation."""
    at = len(PNG_SIGNATURE)
    while at + _CHUNK.size <= len(png):
        length, kind = _CHUNK.unpack_from(png, at)
        end = at + _CHUNK.size + length + 4
        content, checksum = png[at + _CHUNK.size : end - 4], png[end - 4 : end]
        is_critical = not kind[0] & 0x20
        is_whole = checksum == struct.pack(">I", zlib.crc32(kind + content))
        is_useful = kind == b"eXIf" or (kind == b"iCCP" and _is_profile(content))
        if is_critical or kind == b"tRNS" or (is_useful and is_whole):
            yield png[at:end]
        at = end


def _is_profile(content: bytes) -> bool:
    """Whether the content of an iCCP chunk, name NUL 0 zlib stream, can be unpacked."""
    name, _, packed = content.partition(b"\0")
    try:
        stream = zlib.decompressobj()
        stream.decompress(packed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return False
    return bool(name) and packed[:1] == b"\0" and stream.eof


def _is_whole_jpeg(content: bytes) -> bool:
    """Whether every pixel of a JPEG is there."""
    try:
        space = "CMYK" if simplejpeg.decode_jpeg_header(content)[2] == "CMYK" else "GRAY"
        simplejpeg.decode_jpeg(content, space, min_height=1, min_width=1, strict=True)
    except ValueError:
        return False
    return _is_exact(content)


def _is_exact(jpeg: bytes) -> bool:
    """Whether the scans of a JPEG give all bits of all coefficients; a lost scan leaves no gap."""
    missing_bits: dict[tuple[int, bool], int] = {}  # of a channel's mean or of its details
    is_progressive = False
    for start in (found.start() for found in re.finditer(rb"\xff\xda\0", jpeg)):
        count = jpeg[start + 4]
        channels = jpeg[start + 5 : start + 5 + 2 * count : 2]
        first, last, bits = jpeg[start + 5 + 2 * count : start + 8 + 2 * count]
        is_progressive |= last == 0
        missing_bits |= {(channel, first > 0): bits & 15 for channel in channels}
    means = {channel for channel, is_detail in missing_bits if not is_detail}
    details = {channel for channel, is_detail in missing_bits if is_detail}
    return not any(missing_bits.values()) and (means == details or not is_progressive)
