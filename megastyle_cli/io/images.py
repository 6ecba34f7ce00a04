"""Pictures in and out: decoded to upright RGB within a size limit, and saved atomically.

Whatever a folder may hold is handled here: alpha (composited on white), palettes, CMYK, 16 bits per
channel, animations (first frame), wrong suffixes (the content decides), truncated files. JPEGs are
decoded at the smallest DCT scale that covers the requested size.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from threading import BoundedSemaphore

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.core.atomic_file import atomic_path
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.file_kind import is_stream
from megastyle_cli.core.record import Record, hint_if_nested
from megastyle_cli.io.archive_member import picture_bytes, split_member_name
from megastyle_cli.io.picture_plugins import package_to_install, register_plugins
from megastyle_cli.io.writers.image_dataset import QUALITY

MAX_PIXELS = 180_000_000  # decoded, 540 MB
DRAFT_MARGIN = 1.3  # JPEGs are decoded larger than requested by this factor, then resampled
Image.MAX_IMAGE_PIXELS = None  # our own limit is an error with a message; Pillow's is a warning
# not all that Pillow reads: for PostScript it would start another program
FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA", "ICO"]


def open_picture(
    name: str, max_side_px: int | None = None, margin: float = DRAFT_MARGIN
) -> Image.Image:
    """The picture at `name`: RGB, upright, its longer side at most `max_side_px`.

    `name` is a file, or a row or member of a container (see `archive_member`). A JPEG is decoded at
    least `margin` times larger than requested; 1 is fastest. Raises BadRecord("bad_image", ...) if
    it is missing, empty, truncated, too large or not a picture.
    """
    if is_stream(name):
        raise BadRecord("bad_image", f"{name} is not a regular file")
    if split_member_name(name) is not None:
        return decode_picture(name, picture_bytes(name), max_side_px, margin)
    return _opened(name, name, max_side_px, margin)


def decode_picture(
    name: str, content: bytes, max_side_px: int | None = None, margin: float = DRAFT_MARGIN
) -> Image.Image:
    """`open_picture` of bytes in memory; error messages call them `name`."""
    return _opened(name, BytesIO(content), max_side_px, margin)


def _opened(
    name: str, source: str | BytesIO, max_side_px: int | None, margin: float
) -> Image.Image:
    try:
        with Image.open(source, formats=[*FORMATS, *register_plugins()]) as image:
            return _upright_rgb(name, image, max_side_px, margin)
    except UnidentifiedImageError:
        what = "is not a picture in a format we know" if _size(source) else "is empty"
        if package := package_to_install(name):
            what = f"is read with {package}, which is not installed: pip install {package}"
        raise BadRecord("bad_image", f"{name} {what}") from None
    except OSError as error:
        raise BadRecord("bad_image", _read_error(name, source, error)) from error
    except BadRecord:
        raise
    except Exception as error:
        # Pillow's plugins raise errors of all kinds for damaged headers
        raise BadRecord("bad_image", f"{name} is damaged: {error}") from error


class ImageReader:
    """Opens images by file name on all cores: RGB, upright, see `open_picture` for the sizes.

    The last `num_cached` images stay in memory, for names that recur; 0: none. At most
    `max_concurrent` threads are inside at a time, to bound memory; None: any number.
    """

    def __init__(
        self,
        max_side_px: int | None = None,
        *,
        margin: float = DRAFT_MARGIN,
        num_cached: int = 0,
        max_concurrent: int | None = None,
    ) -> None:
        def open_or_reason(name: str) -> Image.Image | BadRecord:
            return _opened_or_error(name, max_side_px, margin)

        self._open = lru_cache(num_cached)(open_or_reason) if num_cached else open_or_reason
        self._slots = BoundedSemaphore(max_concurrent) if max_concurrent else nullcontext()

    def read(self, names: Sequence[str]) -> "list[Image.Image | BadRecord]":
        """The image of each name, in order; a BadRecord with the reason where there is none."""
        with self._slots:
            return parallel_map(self._open, names)

    def read_key(self, records: Sequence[Record], key: str) -> "list[Image.Image | BadRecord]":
        """The image that each record names under `key`, in order; a BadRecord where none opens."""
        names = [record.get(key) for record in records]
        images = iter(self.read([name for name in names if isinstance(name, str)]))
        return [
            next(images) if isinstance(name, str) else _missing_name(record, key)
            for name, record in zip(names, records, strict=True)
        ]


def _missing_name(record: Record, key: str) -> BadRecord:
    # a parquet row without a picture column, a sample in a tar without such a member
    nested = hint_if_nested(record, key)
    reason = nested or (": it brings no picture" if key == "file_name" else "")
    return BadRecord("missing_key", f"record {record['id']} has no {key}{reason}")


def _opened_or_error(
    name: str, max_side_px: int | None, margin: float = DRAFT_MARGIN
) -> "Image.Image | BadRecord":
    try:
        return open_picture(name, max_side_px, margin)
    except BadRecord as bad:
        return bad


def save_picture(image: Image.Image, path: Path, quality: int | None = None) -> None:
    """Writes `image` atomically in the format of the suffix of `path`.

    `quality` applies to JPEG and WebP, 1 to 100; None is QUALITY.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # level 1: a 512 px PNG in a fifth of the time, for a tenth more bytes
    is_png = path.suffix == ".png"
    options = {"compress_level": 1} if is_png else {"quality": quality or QUALITY}
    with atomic_path(path, durable=False) as temporary:
        image.save(temporary, format=_format(path.suffix), **options)


def _format(suffix: str) -> str:
    return {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}.get(suffix.lower(), "PNG")


def _upright_rgb(
    name: str, image: Image.Image, max_side_px: int | None, margin: float
) -> Image.Image:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadRecord(
            "bad_image",
            f"{name} has {width:,} x {height:,} pixels, more than {MAX_PIXELS:,} in all",
        )
    if max_side_px is not None:
        scale = margin * max_side_px / max(width, height)
        image.draft("RGB", (round(width * scale), round(height * scale)))
    image.load()
    upright = _rgb(ImageOps.exif_transpose(image))
    if max_side_px is not None and max(upright.size) > max_side_px:
        upright.thumbnail((max_side_px, max_side_px), Image.Resampling.BICUBIC)
    return upright


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image if type(image) is Image.Image else image.copy()
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        seen = image.convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        return Image.alpha_composite(white, seen).convert("RGB")
    return image.convert("RGB")


def _eight_bits(
    gray: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]",
) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """Gray of any depth as 0 to 255.

    White is 65535 in 16-bit types and where a value exceeds 255, 1 in floats up to 1, else 255.
    """
    values = np.nan_to_num(gray.astype(np.float64))
    top = 65535.0 if values.max(initial=0) > 255 else 255.0
    if gray.dtype.kind == "f" and values.max(initial=0) <= 1:
        top = 1.0
    if gray.dtype.kind in "ui" and gray.dtype.itemsize == 2:
        top = 65535.0
    return np.clip(values * 255.0 / top, 0, 255).round().astype(np.uint8)


def _size(source: str | BytesIO) -> int:
    return source.getbuffer().nbytes if isinstance(source, BytesIO) else Path(source).stat().st_size


def _read_error(name: str, source: str | BytesIO, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{name} does not exist"
    if isinstance(error, IsADirectoryError):
        return f"{name} is a directory, not a picture"
    if isinstance(error, PermissionError):
        return f"{name} may not be read: permission denied"
    message = str(error).lower()
    if any(words in message for words in ("truncated", "broken data stream", "cut")):
        return f"{name} is cut off after {_size(source)} bytes"
    return f"{name} cannot be decoded: {error}"
