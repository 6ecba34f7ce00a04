"""Memory needed to decode a picture, kept within the limit of one item.

A few bytes may decode to gigabytes. What would take more than `--max-item-size` is refused before
it is decoded; of the others, as many are decoded at a time as one limit for every four cores holds.
Bytes per pixel were measured with Pillow 13 at 4,000 x 4,000 pixels.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from typing import IO

from PIL import ExifTags, Image

from megastyle_cli.compute.engine import usable_cores
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.limits import max_item_bytes, too_large
from megastyle_cli.io.color_profile import is_srgb
from megastyle_cli.io.image_repair import PNG_SIGNATURE

CORES_PER_LIMIT = 4
PIXELS_PER_BYTE = 8  # that the scans of a JPEG may pass over, per byte of the limit: 15 seconds
# per pixel, beside the decoded picture; JPEG2000 decodes to a long integer a channel
DECODER_BYTES = {"WEBP": 12, "AVIF": 12, "HEIF": 12, "JXL": 12, "JPEG2000": 21, "TIFF": 4}
COEFFICIENT_BYTES = 2  # a channel, of all pixels of a progressive JPEG
STORED_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}  # others: 4
_PNG_SIZE = struct.Struct(">8s8x2I")
_OFFSET = struct.Struct("<I")
_ICON, _ICON_MAGIC = struct.Struct("<4sH"), b"\0\0\1\0"
_START_OF_SCAN = b"\xff\xda"


def check_decoding(
    name: str, image: Image.Image, full_size: tuple[int, int], source: IO[bytes]
) -> int:
    """The most memory that decoding an opened `image` to RGB takes.

    `full_size` is the size in the file `source`; that of `image` is smaller if it is decoded at a
    reduced scale. Raises BadRecord if that is more than one item may take.
    """
    what = f"{name} ({full_size[0]:,} x {full_size[1]:,} pixels)"
    full_pixels = full_size[0] * full_size[1]
    decoder = DECODER_BYTES.get(image.format or "", 0)
    num_bytes = _num_pixels(image) * (
        STORED_BYTES.get(image.mode, 4) + max(decoder, 0 if _is_result(image) else 4)
    )
    if image.info.get("progressive"):
        num_bytes += full_pixels * COEFFICIENT_BYTES * len(image.getbands())
    if num_bytes > max_item_bytes():
        raise BadRecord("bad_image", too_large(what, num_bytes))
    if image.info.get("progressive"):
        _check_scans(what, full_pixels, source)
    return num_bytes


def check_icon(name: str, source: IO[bytes]) -> None:
    """Raises BadRecord if an icon holds a PNG that is too large: Pillow decodes it on opening."""
    magic, count = _ICON.unpack(source.read(_ICON.size).ljust(_ICON.size))
    for entry in range(count if magic == _ICON_MAGIC else 0):
        source.seek(_ICON.size + 16 * entry + 12)
        source.seek(*_OFFSET.unpack(source.read(4).ljust(4)))
        magic, width, height = _PNG_SIZE.unpack(source.read(_PNG_SIZE.size).ljust(_PNG_SIZE.size))
        if magic == PNG_SIGNATURE and width * height * 8 > max_item_bytes():
            what = f"{name} ({width:,} x {height:,} pixels)"
            raise BadRecord("bad_image", too_large(what, width * height * 8))
    source.seek(0)


def fits_without_check(jpeg: bytes, num_pixels: int) -> bool:
    """Whether a JPEG is so small that `check_decoding` would let it pass at any scale."""
    scans = jpeg.count(_START_OF_SCAN)
    # one with few scans is not progressive: it has one, or one a channel, and those of a thumbnail
    bytes_per_pixel = max(4 if scans <= 4 else 12, scans // PIXELS_PER_BYTE)
    return num_pixels * bytes_per_pixel <= max_item_bytes()


def _check_scans(what: str, num_pixels: int, source: IO[bytes]) -> None:
    """Raises BadRecord for a progressive JPEG whose scans take minutes to decode.

    Each scan passes over all pixels; an encoder writes about ten.
    """
    position = source.tell()
    source.seek(0)
    scans = source.read().count(_START_OF_SCAN)
    source.seek(position)
    passed = scans * num_pixels // PIXELS_PER_BYTE
    if passed > max_item_bytes():
        raise BadRecord("bad_image", too_large(f"{what}, in {scans:,} scans,", passed))


def _is_result(image: Image.Image) -> bool:
    """Whether the decoded picture needs no conversion or rotation, which would make another."""
    if image.format in ("JPEG", "MPO"):
        is_upright = image.getexif().get(ExifTags.Base.Orientation, 1) == 1
    else:
        is_upright = "exif" not in image.info
    profile = image.info.get("icc_profile")
    return image.mode == "RGB" and is_upright and (not profile or is_srgb(image))


class _Budget:
    """The memory of all pictures that are being decoded; a large one waits for others to end."""

    def __init__(self) -> None:
        self._changed, self._used = Condition(), 0

    @contextmanager
    def hold(self, num_bytes: int) -> Iterator[None]:
        total = max_item_bytes() * max(1, usable_cores() // CORES_PER_LIMIT)
        with self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + num_bytes <= total)
            self._used += num_bytes
        try:
            yield
        finally:
            with self._changed:
                self._used -= num_bytes
                self._changed.notify_all()


decoding_memory = _Budget()


def _num_pixels(image: Image.Image) -> int:
    """Of the picture, or of what its decoder allocates if that is larger."""
    pixels = image.width * image.height
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        width, height = (int(tags.get(tag, 0)) for tag in (322, 323))
        return max(pixels, width * height)
    return pixels
