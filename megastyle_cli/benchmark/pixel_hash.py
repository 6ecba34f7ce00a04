"""Hashes of pictures by what they show: equal for two files of the same pixels."""

import hashlib
from typing import TYPE_CHECKING

from megastyle_cli.io.images import open_picture

if TYPE_CHECKING:
    from PIL.Image import Image


def pixel_hash(image: "Image") -> str:
    """The SHA-256 (64 hex digits) of the size and the bytes of an RGB image, row by row.

    The encoder of a PNG does not change it; that of a JPEG does, since its pixels differ.
    """
    digest = hashlib.sha256(f"{image.width}x{image.height}\n".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def file_pixel_hash(name: str) -> str:
    """`pixel_hash` of the picture at `name`, upright and in sRGB.

    Raises BadRecord("bad_image", ...) if it cannot be read.
    """
    return pixel_hash(open_picture(name))
