"""Pictures in and out: decoded to upright sRGB within a size limit, and saved atomically.

Whatever a folder may hold is handled here: colour profiles, alpha (composited on white), palettes,
CMYK, 16 bits per channel, animations (first frame), wrong suffixes (the content decides), files
that are truncated or damaged where no pixel is. JPEGs are decoded at the smallest DCT scale that
covers the requested size.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from threading import BoundedSemaphore
from typing import IO, BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps, PngImagePlugin, UnidentifiedImageError

from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.core.atomic_file import atomic_open
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.extras import pip_line
from megastyle_cli.core.record import Record, hint_if_nested
from megastyle_cli.io.color_profile import has_alpha, is_srgb, to_srgb
from megastyle_cli.io.formats import WRITTEN_PICTURES, open_file, picture_bytes, split_member_name
from megastyle_cli.io.image_memory import check_decoding, check_icon, decoding_memory
from megastyle_cli.io.image_repair import MAX_PROFILE_BYTES, format_name, repaired
from megastyle_cli.io.picture_plugins import package_to_install, register_plugins
from megastyle_cli.io.writers.image_dataset import QUALITY

DRAFT_MARGIN = 1.3  # JPEGs are decoded larger than requested by this factor, then resampled
BAND_PIXELS = 1 << 18  # converted to RGB at a time, so that no second picture is held
# our own limits are errors with a message
Image.MAX_IMAGE_PIXELS = None
PngImagePlugin.MAX_TEXT_CHUNK = MAX_PROFILE_BYTES
# not all that Pillow reads: for PostScript it would start another program
FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA", "ICO"]


def open_picture(
    name: str, max_side_px: int | None = None, margin: float = DRAFT_MARGIN
) -> Image.Image:
    """The picture at `name`: sRGB, upright, its longer side at most `max_side_px`.

    `name` is a file, or a row or member of a container (see `formats`). A JPEG is decoded at
    least `margin` times larger than requested; 1 is fastest. Raises BadRecord("bad_image", ...) if
    it is missing, empty, truncated, too large or not a picture.
    """
    if split_member_name(name) is not None:
        return decode_picture(name, picture_bytes(name), max_side_px, margin)
    with open_file(name) as file:
        return _decoded_or_repaired(name, file, max_side_px, margin)


def decode_picture(
    name: str, content: bytes, max_side_px: int | None = None, margin: float = DRAFT_MARGIN
) -> Image.Image:
    """`open_picture` of bytes in memory; error messages call them `name`."""
    return _decoded_or_repaired(name, BytesIO(content), max_side_px, margin)


def _decoded_or_repaired(
    name: str, source: IO[bytes], max_side_px: int | None, margin: float
) -> Image.Image:
    try:
        return _decoded(name, source, max_side_px, margin)
    except (BadRecord, MemoryError):
        raise
    except Exception as error:  # Pillow's plugins raise errors of all kinds for damaged files
        source.seek(0)
        whole = repaired(source)
        if whole is None:
            raise BadRecord("bad_image", _decoding_error(name, source, error)) from error
    try:
        return _decoded(name, BytesIO(whole), max_side_px, margin)
    except (BadRecord, MemoryError):
        raise
    except Exception as error:
        raise BadRecord("bad_image", _decoding_error(name, source, error)) from error


def _decoded(name: str, source: IO[bytes], max_side_px: int | None, margin: float) -> Image.Image:
    check_icon(name, source)
    with _identified(source) as image:
        full_size = image.size
        if max_side_px is not None:
            scale = margin * max_side_px / max(full_size)
            width, height = (max(1, round(side * scale)) for side in full_size)
            image.draft("RGB", (width, height))
        num_bytes = check_decoding(name, image, full_size, source)
        with decoding_memory.hold(num_bytes):
            ImageOps.exif_transpose(image, in_place=True)
            upright = _rgb(image)
    if max_side_px is not None and max(upright.size) > max_side_px:
        upright.thumbnail((max_side_px, max_side_px), Image.Resampling.BICUBIC)
    return upright


def _identified(source: IO[bytes]) -> ImageFile.ImageFile:
    try:
        return Image.open(source, formats=FORMATS)
    except UnidentifiedImageError:
        return Image.open(source, formats=register_plugins())


class ImageReader:
    """Opens images by file name on all cores: RGB, upright, see `open_picture` for the sizes.

    The last `num_cached` images stay in memory, for names that recur; 0: none. At most
    `max_concurrent` threads are inside at a time, to bound memory; None: any number. `in_memory`
    holds the bytes of pictures that are not files, by name.
    """

    def __init__(
        self,
        max_side_px: int | None = None,
        *,
        margin: float = DRAFT_MARGIN,
        num_cached: int = 0,
        max_concurrent: int | None = None,
        in_memory: Mapping[str, bytes] | None = None,
    ) -> None:
        def open_or_reason(name: str) -> Image.Image | BadRecord:
            try:
                if in_memory and name in in_memory:
                    return decode_picture(name, in_memory[name], max_side_px, margin)
                return open_picture(name, max_side_px, margin)
            except BadRecord as bad:
                return bad

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
    reason = nested or (": it has no image" if key == "file_name" else "")
    message = f"record {record['id']} has no {key}{reason}"
    return BadRecord("missing_key", message, "" if nested else key)


def save_picture(image: Image.Image, path: Path, quality: int | None = None) -> None:
    """Writes `image` atomically in the format of the suffix of `path`.

    `quality` applies to JPEG, WebP and AVIF, 1 to 100; None is QUALITY.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_open(path) as file:
        encode_picture(image, file, path.suffix, quality)


def encode_picture(
    image: Image.Image, file: BinaryIO, suffix: str, quality: int | None = None
) -> None:
    """Writes `image` to `file` in the format of `suffix`; see `save_picture`."""
    # level 1: a 512 px PNG in a fifth of the time, for a tenth more bytes
    options = {"compress_level": 1} if suffix == ".png" else {"quality": quality or QUALITY}
    save_whole(image, file, WRITTEN_PICTURES.get(suffix.lower(), "PNG"), **options)


def save_whole(image: Image.Image, file: BinaryIO, picture_format: str, **options: int) -> None:
    """Writes `image` to `file`, or raises OSError.

    Pillow by itself takes what a full disk has accepted of a picture for the whole of it.
    """
    encoded = BytesIO()
    image.save(encoded, format=picture_format, **options)
    file.write(encoded.getbuffer())


def _rgb(image: Image.Image) -> Image.Image:
    """A decoded picture in sRGB: alpha on white, 8 bits per channel, no profile."""
    profile = image.info.get("icc_profile")
    white = _white_level(image)
    if image.mode == "RGB" and (not profile or is_srgb(image)):
        rgb = image._new(image.im)  # not a copy, nor a plugin's object with its decoder
    elif not profile and not white and not has_alpha(image):
        rgb = image.convert("RGB")
    else:
        rgb = Image.new("RGB", image.size)
        rgb.info = {key: image.info[key] for key in image.info if key != "transparency"}
        for box in _bands(image):
            rgb.paste(_rgb_band(image.crop(box), profile, white), box)
    rgb.info.pop("icc_profile", None)
    return rgb


def _rgb_band(image: Image.Image, profile: bytes | None, white: float) -> Image.Image:
    if white:
        image = Image.fromarray(_eight_bits(np.asarray(image), white))
    image = to_srgb(image, profile)
    if has_alpha(image):
        seen = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
    return image.convert("RGB")


def _bands(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(image.height, top + rows)


def _white_level(image: Image.Image) -> float:
    """The value of white in gray of more than 8 bits; 0 for other pictures.

    65535 in 16-bit types and where a value exceeds 255, 1 in floats up to 1, else 255.
    """
    if image.mode.startswith("I;16"):
        return 65535.0
    if image.mode not in ("I", "F"):
        return 0.0
    most = max(
        np.nan_to_num(np.asarray(image.crop(box)).astype(np.float64)).max(initial=0)
        for box in _bands(image)
    )
    if image.mode == "F" and most <= 1:
        return 1.0
    return 65535.0 if most > 255 else 255.0


def _eight_bits(
    gray: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]", white: float
) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    values = np.nan_to_num(gray.astype(np.float64))
    return np.clip(values * 255.0 / white, 0, 255).round().astype(np.uint8)


def _decoding_error(name: str, source: IO[bytes], error: Exception) -> str:
    """The sentence about a picture that Pillow does not decode."""
    size = source.seek(0, 2)
    source.seek(0)
    if isinstance(error, UnidentifiedImageError):
        if package := package_to_install(name):
            line = pip_line(package)
            return f"{name} needs the package {package}, which is not installed: {line}"
        known = format_name(source.read(1024))
        if known:
            return f"{name} is a {known} file, which is not supported: convert it to PNG"
        return f"{name} {'is not an image in a supported format' if size else 'is empty'}"
    message = str(error).lower()
    if any(words in message for words in ("truncated", "broken data stream", "cut")):
        return f"{name} is cut off after {size} bytes"
    if isinstance(error, OSError):
        return f"{name} cannot be decoded: {error}"
    return f"{name} is damaged: {error}"
