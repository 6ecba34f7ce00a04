"""Decoding a picture takes no more memory than one item may."""

import json
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megastyle_cli.core import limits
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.io.image_memory import decoding_memory
from megastyle_cli.io.images import decode_picture
from tests.conftest import Runner, draw, lines
from tests.io.profiles import DISPLAY_P3
from tests.io.test_color_profile import saved

LIMIT = "64M"
MEASURED = """
import json, sys
from megastyle_cli.core.limits import set_max_item_size
from megastyle_cli.io import color_profile
from megastyle_cli.io.images import open_picture

def peak():
    return int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) << 10

limit, small, *names = sys.argv[1:]
open_picture(small)
set_max_item_size(limit)
before, grown = peak(), {}
for name in names:
    open_picture(name)
    grown[name] = peak() - before
print(json.dumps(grown))
"""


@pytest.fixture(autouse=True)
def small_limit() -> Iterator[None]:
    limits.set_max_item_size(LIMIT)
    yield
    limits.set_max_item_size(limits.DEFAULT_MAX_ITEM_SIZE)


def empty_png(side: int, depth: int = 8, color: int = 2) -> bytes:
    """A PNG that says it is large and holds a few bytes."""
    header = struct.pack(">IIBBBBB", side, side, depth, color, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def with_scans(scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    content = saved(Image.new("RGB", (2000, 2000), "teal"), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * scans + content[-2:]


BOMBS = {
    "webp": bytes.fromhex("524946461a000000574542505650384c0e0000002ffeffa40a071011fd0f4444ff03"),
    "png": empty_png(30_000),
    "deep png": empty_png(9_000, depth=16, color=6),
    "icon": b"\0\0\1\0\1\0\0\0\0\0\1\0\x20\0" + struct.pack("<II", 1100, 22) + empty_png(20_000),
    "scans": with_scans(3_000),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_what_decodes_to_more_than_the_limit_is_refused(kind: str) -> None:
    with pytest.raises(BadRecord, match="more than 64M: give a larger --max-item-size"):
        decode_picture("a", BOMBS[kind])


def test_the_limit_can_be_raised() -> None:
    large = saved(Image.new("L", (5000, 5000)))
    with pytest.raises(BadRecord, match=r"a \(5,000 x 5,000 pixels\) takes 119.2M, more than 64M"):
        decode_picture("a", large)

    limits.set_max_item_size("128M")

    assert decode_picture("a", large).size == (5000, 5000)


def test_a_jpeg_counts_at_the_scale_that_it_is_decoded_at() -> None:
    large = saved(Image.new("RGB", (5000, 5000)), "JPEG")

    assert decode_picture("a", large, 500).size == (500, 500)
    with pytest.raises(BadRecord, match="takes 95.37M"):
        decode_picture("a", large)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read there")
def test_peak_memory_stays_near_the_limit(tmp_path: Path) -> None:
    alpha, exif = Image.new("RGBA", (2800, 2900)), Image.Exif()
    exif[0x0112] = 6
    rgb = alpha.convert("RGB")
    gray = Image.fromarray(np.full((2800, 2900), 0.5, np.float32))
    cut = (0, 0, 1900, 2000)
    files = {
        "alpha.png": saved(alpha),
        "wide.png": saved(rgb, icc_profile=DISPLAY_P3),
        "turned.jpg": saved(rgb, "JPEG", exif=exif),
        "cmyk.jpg": saved(rgb.convert("CMYK"), "JPEG"),
        "progressive.jpg": saved(rgb.crop((0, 0, 2400, 2500)), "JPEG", progressive=True),
        "float.tif": saved(gray, "TIFF", compression="tiff_lzw"),
        "a.webp": saved(alpha.crop(cut), "WEBP"),
        "a.avif": saved(alpha.crop(cut), "AVIF", speed=10),
        "a.jp2": saved(alpha.crop((0, 0, 1600, 1600)), "JPEG2000"),
        "palette.gif": saved(rgb.convert("P"), "GIF"),
    }
    names = [str(tmp_path / name) for name in ("small.png", *files)]
    for name, content in zip(names, [saved(draw(1)), *files.values()], strict=True):
        Path(name).write_bytes(content)

    ended = subprocess.run(
        [sys.executable, "-c", MEASURED, LIMIT, *names], capture_output=True, check=True
    )

    grown = json.loads(ended.stdout)
    assert max(grown.values()) < 1.5 * limits.max_item_bytes(), grown


def test_large_pictures_wait_for_each_other_and_one_may_always_start() -> None:
    whole, started, order = limits.max_item_bytes(), threading.Event(), []

    def decode(name: str, num_bytes: int) -> None:
        started.set()
        with decoding_memory.hold(num_bytes):
            order.append(name)

    with decoding_memory.hold(100 * whole):
        other = threading.Thread(target=decode, args=("second", 100 * whole))
        other.start()
        started.wait()
        order.append("first")
    other.join()

    assert order == ["first", "second"]


def test_a_command_takes_the_limit_and_its_mistakes_are_told(
    megastyle: Runner, tmp_path: Path
) -> None:
    (tmp_path / "imgs").mkdir()
    draw(1).save(tmp_path / "imgs" / "a.png")
    buffer = BytesIO()
    Image.new("L", (2000, 2000)).save(buffer, "PNG")
    (tmp_path / "imgs" / "b.png").write_bytes(buffer.getvalue())
    command = ("caption", "--kind", "style", tmp_path / "imgs", "--max-item-size")

    small = megastyle(*command, "1M", "-o", tmp_path / "small.jsonl")
    wrong = megastyle(*command, "much", "-o", tmp_path / "wrong.jsonl")

    assert small.returncode == 3 and b"takes 19.07M, more than 1M" in small.stderr
    assert len(lines(tmp_path / "small.jsonl")) == 1
    assert wrong.returncode == 2 and b"--max-item-size is 'much', not a size" in wrong.stderr
