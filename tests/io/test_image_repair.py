"""Damage where no pixel is does not matter; damage of pixels does."""

import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image, PngImagePlugin

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.io.images import decode_picture
from tests.conftest import draw
from tests.io.profiles import ADOBE_RGB
from tests.io.test_color_profile import gap, saved, tagged


def with_chunks(png: bytes, *chunks: tuple[bytes, bytes], at: int = 33) -> bytes:
    """A PNG with more chunks, behind its header unless `at` says otherwise."""
    added = b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    return png[:at] + added + png[at:]


def flipped(content: bytes, after: bytes, by: int) -> bytes:
    """`content` with one bit changed, `by` bytes behind the start of `after`."""
    changed = bytearray(content)
    changed[content.index(after) + by] ^= 1
    return bytes(changed)


def text(*entries: str, zipped: bool) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for number, entry in enumerate(entries):
        info.add_text(f"k{number}", entry, zip=zipped)
    return info


@pytest.mark.parametrize(
    "content",
    [
        saved(draw(1), pnginfo=text("0" * 1_500_000, zipped=True)),
        saved(draw(1), pnginfo=text("0" * 20_000_000, zipped=True)),
        saved(draw(1), pnginfo=text(*["x" * 1_000_000] * 70, zipped=False)),
        saved(draw(1), icc_profile=bytes(1_500_000)),
        saved(draw(1), icc_profile=bytes(20_000_000)),
        flipped(saved(draw(1), pnginfo=text("hello", zipped=False)), b"tEXt", 6),
        flipped(saved(draw(1), dpi=(72, 72)), b"pHYs", 5),
        with_chunks(saved(draw(1)), (b"sRGB", b""), (b"gAMA", b"1"), (b"cHRM", b"")),
        with_chunks(saved(draw(1)), (b"iCCP", b"name\0\7no zlib")),
        with_chunks(saved(draw(1)), (b"zTXt", b"name\0\0no zlib"), at=-12),
    ],
    ids=["text", "more text", "text in all", "profile", "more profile", "text sum", "density sum"]
    + ["short colour", "profile method", "text behind"],
)
def test_a_png_is_read_whatever_its_other_chunks_hold(content: bytes) -> None:
    assert decode_picture("a", content).tobytes() == draw(1).tobytes()


def test_a_repaired_png_keeps_its_profile_and_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = flipped(tagged(draw(2), ADOBE_RGB, pnginfo=text("hello", zipped=False)), b"tEXt", 6)
    turned = flipped(saved(draw(2, 80, 40), exif=exif, dpi=(72, 72)), b"pHYs", 5)

    assert gap(decode_picture("a", wide), draw(2)) < 1
    assert decode_picture("a", turned).size == (40, 80)


@pytest.mark.parametrize(
    "content",
    [
        flipped(saved(draw(1)), b"IDAT", 40),
        flipped(saved(draw(1)), b"IHDR", 5),
        flipped(saved(draw(1).convert("P")), b"PLTE", 5),
        flipped(saved(draw(1).convert("P"), transparency=3), b"tRNS", 5),
        saved(draw(1))[:-400],
    ],
    ids=["pixels", "header", "palette", "transparency", "cut"],
)
def test_damage_of_pixels_is_an_error(content: bytes) -> None:
    with pytest.raises(BadRecord, match="^a (is|cannot)"):
        decode_picture("a", content)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_mark_is_read_only_if_it_is_whole(
    mode: str, progressive: bool
) -> None:
    content = saved(draw(3, 300, 200).convert(mode), "JPEG", progressive=progressive)

    whole = decode_picture("a", content[:-2])

    assert whole.tobytes() == decode_picture("a", content).tobytes()
    for missing in (100, len(content) // 2):
        with pytest.raises(BadRecord, match="is cut off after"):
            decode_picture("a", content[:-missing])


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isom", "video"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x">', "SVG"),
        (b"\n<svg>", "SVG"),
        (b"<!DOCTYPE html><p>404", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"8BPS\0\1", "Photoshop"),
    ],
)
def test_a_format_that_is_not_read_is_named(content: bytes, name: str) -> None:
    with pytest.raises(BadRecord, match=f"a.jpg is a {name}"):
        decode_picture("a.jpg", content)


def test_a_thin_jpeg_is_read_like_a_thin_png() -> None:
    for size in ((1, 1300), (2, 6000), (3, 9000), (1400, 1), (4, 13000)):
        image = Image.new("RGB", size, (0, 128, 128))
        buffer = BytesIO()
        image.save(buffer, "JPEG")

        jpeg = decode_picture("a", buffer.getvalue(), 512)

        assert jpeg.size == decode_picture("a", saved(image), 512).size
