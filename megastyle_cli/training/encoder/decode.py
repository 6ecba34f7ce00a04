"""Pictures to squares of pixels for training, at the least cost: libjpeg-turbo at a DCT scale.

A JPEG is decoded at the smallest eighth of its size that covers the square, then resampled only if
it is not the square already. The pixels differ a little from those of the whole picture resampled
bicubically, which scores and validation use.
"""

from io import BytesIO

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from megastyle_cli.io.archive_member import picture_bytes
from megastyle_cli.io.images import MAX_PIXELS, decode_picture

JPEG = b"\xff\xd8\xff"  # how one begins
ORIENTATION = 0x0112  # the EXIF tag
# orientation -> whether rows and columns change places, then what is mirrored: rows 0, columns 1
TURNS: dict[int, tuple[bool, tuple[int, ...]]] = {
    **{2: (False, (1,)), 3: (False, (0, 1)), 4: (False, (0,))},
    **{5: (True, ()), 6: (True, (1,)), 7: (True, (0, 1)), 8: (True, (0,))},
}


def decode(name: str, side_px: int) -> Tensor:
    """The picture at `name` as uint8 (3, side, side), its aspect lost. Raises BadRecord."""
    pixels = torch.empty(side_px, side_px, 3, dtype=torch.uint8)
    decode_into(pixels, name)
    return pixels.permute(2, 0, 1)


def decode_into(pixels: Tensor, name: str) -> None:
    """Fills `pixels`, uint8 (side, side, 3), with the picture at `name`; no thread waits for it.

    What libjpeg-turbo does not take, Pillow does. Raises BadRecord("bad_image", ...) if neither.
    """
    content = picture_bytes(name)
    if not (content.startswith(JPEG) and _is_filled(pixels, content)):
        pixels.copy_(_squashed(np.array(decode_picture(name, content)), len(pixels)))


def _is_filled(pixels: Tensor, jpeg: bytes) -> bool:
    """Fills `pixels` from a JPEG, unless it is damaged, too large or of colours for print."""
    side_px = len(pixels)
    least = {"min_height": side_px, "min_width": side_px}
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(jpeg)
        if height * width > MAX_PIXELS:
            return False
        if simplejpeg.decode_jpeg_header(jpeg, **least)[:2] == (side_px, side_px):
            simplejpeg.decode_jpeg(jpeg, buffer=pixels.numpy(), **least)
        else:
            pixels.copy_(_squashed(simplejpeg.decode_jpeg(jpeg, **least), side_px))
    except ValueError:
        return False
    rows_for_columns, mirrored = TURNS.get(_orientation(jpeg), (False, ()))
    if rows_for_columns or mirrored:
        turned = pixels.transpose(0, 1) if rows_for_columns else pixels
        pixels.copy_(turned.flip(mirrored))
    return True


def _squashed(picture: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", side_px: int) -> Tensor:
    """uint8 (h, w, 3) to (side, side, 3), bilinear, over all pixels that one covers."""
    whole = torch.from_numpy(picture).permute(2, 0, 1)[None]  # (1, 3, h, w)
    if whole.shape[2:] != (side_px, side_px):
        whole = functional.interpolate(whole, (side_px, side_px), mode="bilinear", antialias=True)
    return whole[0].permute(1, 2, 0)


def _orientation(jpeg: bytes) -> int:
    if (
        b"Exif\0\0" not in jpeg and b"tiff:Orientation" not in jpeg
    ):  # to look costs 10 us, to open 100
        return 1
    with Image.open(BytesIO(jpeg)) as image:
        return int(image.getexif().get(ORIENTATION, 1))
