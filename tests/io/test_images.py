"""Every file of a person's folder opens as upright RGB, or says in a sentence why it does not."""

import resource
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.io import images
from megastyle_cli.io.images import ImageReader, open_picture, save_picture
from tests.conftest import Runner, draw, lines


def why(path: Path) -> str:
    with pytest.raises(BadRecord) as caught:
        open_picture(str(path))
    assert caught.value.kind == "bad_image"
    assert str(path) in caught.value.message
    return caught.value.message


def test_exif_orientation_turns_the_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn clockwise
    draw(1, 80, 40).save(tmp_path / "a.jpg", exif=exif)

    assert open_picture(str(tmp_path / "a.jpg")).size == (40, 80)


def test_alpha_is_laid_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "a.png")

    assert open_picture(str(tmp_path / "a.png")).getpixel((0, 0)) == (255, 255, 255)


def test_transparent_palette_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 3)
    image.putpalette([0, 0, 0] * 3 + [10, 200, 10])
    image.save(tmp_path / "a.gif", transparency=3)

    assert open_picture(str(tmp_path / "a.gif")).getpixel((0, 0)) == (255, 255, 255)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg")

    red, green, blue = open_picture(str(tmp_path / "a.jpg")).getpixel((4, 4))
    assert red > 200 and green < 60 and blue < 60


def test_sixteen_bits_keep_their_tones(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    Image.fromarray(ramp).save(tmp_path / "a.png")

    seen = np.asarray(open_picture(str(tmp_path / "a.png")))[0, :, 0]
    assert np.abs(seen.astype(int) - np.arange(256)).max() <= 1


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])

    assert open_picture(str(tmp_path / "a.gif")).getpixel((0, 0)) == (255, 0, 0)


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    draw(2).save(tmp_path / "really.png")
    (tmp_path / "really.png").rename(tmp_path / "a.jpg")

    assert open_picture(str(tmp_path / "a.jpg")).tobytes() == draw(2).tobytes()


def test_longer_side_is_limited_and_the_shape_kept(tmp_path: Path) -> None:
    draw(3, 800, 400).save(tmp_path / "a.jpg")

    assert open_picture(str(tmp_path / "a.jpg"), 100).size == (100, 50)
    assert open_picture(str(tmp_path / "a.jpg"), 4000).size == (800, 400)


def test_bad_files_say_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture at all")
    (tmp_path / "empty.jpg").touch()
    draw(4, 300, 200).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])

    assert "is not an image" in why(tmp_path / "text.png")
    assert "is empty" in why(tmp_path / "empty.jpg")
    assert "is cut off after 2000 bytes" in why(tmp_path / "cut.jpg")
    assert "does not exist" in why(tmp_path / "missing.jpg")
    assert "is a folder" in why(tmp_path)


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")

    assert "20,000 x 20,000 pixels" in why(tmp_path / "huge.png")


def test_a_bomb_is_one_error_record_and_costs_no_memory(megastyle: Runner, tmp_path: Path) -> None:
    (tmp_path / "imgs").mkdir()
    draw(1).save(tmp_path / "imgs" / "a.png")
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    with (tmp_path / "imgs" / "bomb.png").open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, content in chunks:
            crc = struct.pack(">I", zlib.crc32(kind + content))
            file.write(struct.pack(">I", len(content)) + kind + content + crc)
    (tmp_path / "imgs" / "zero.jpg").touch()

    out = tmp_path / "out.jsonl"
    ended = megastyle("caption", "--kind", "style", tmp_path / "imgs", "-o", out)

    assert ended.returncode == 3 and b"Traceback" not in ended.stderr
    assert b"bomb.png (30,000 x 30,000 pixels) takes 3.353G, more than 512M" in ended.stderr
    assert b"zero.jpg is empty" in ended.stderr
    assert len(lines(out)) == 1 and len(lines(tmp_path / "out.errors.jsonl")) == 2


def test_bad_pictures_keep_their_place_among_good_ones(tmp_path: Path) -> None:
    names = [str(tmp_path / f"{seed}.png") for seed in range(4)]
    for seed in (0, 2, 3):
        draw(seed).save(names[seed])

    opened = ImageReader().read(names)

    assert [isinstance(found, BadRecord) for found in opened] == [False, True, False, False]


def test_a_reader_keeps_the_last_images_that_it_read(tmp_path: Path) -> None:
    paths = [tmp_path / f"{seed}.png" for seed in range(3)]
    for seed, path in enumerate(paths):
        draw(seed).save(path)
    names = [str(path) for path in paths]
    reader = ImageReader(num_cached=2)
    for name in names:
        reader.read([name])
    for path in paths:
        path.unlink()

    kept = [reader.read([name])[0] for name in (names[1], names[2], names[0])]
    assert [isinstance(image, Image.Image) for image in kept] == [True, True, False]


def test_images_of_records_come_in_order_with_a_reason_for_each_that_is_missing(
    tmp_path: Path,
) -> None:
    draw(1, 64, 32).save(tmp_path / "a.png")
    records = [
        {"id": "a", "file_name": str(tmp_path / "none.png")},
        {"id": "b"},
        {"id": "c", "file_name": str(tmp_path / "a.png")},
        {"id": "d", "file_name": 7},
    ]
    reader = ImageReader(max_side_px=16)

    bad, missing, image, number = reader.read_key(records, "file_name")

    assert isinstance(image, Image.Image) and image.size == (16, 8)
    assert isinstance(bad, BadRecord) and bad.kind == "bad_image"
    for found, name in ((missing, "b"), (number, "d")):
        assert isinstance(found, BadRecord) and found.kind == "missing_key"
        assert found.message == f"record {name} has no file_name: it has no image"
    (other,) = reader.read_key([{"id": "a"}], "style_file_name")
    assert isinstance(other, BadRecord) and other.message == "record a has no style_file_name"


def test_no_more_threads_read_at_a_time_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    now, most, lock, two_came = [0], [0], threading.Lock(), threading.Event()

    def count(*_: object) -> Image.Image:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
            if now[0] == 2:
                two_came.set()
        two_came.wait(10)
        with lock:
            now[0] -= 1
        return draw(1)

    monkeypatch.setattr(images, "open_picture", count)
    reader = ImageReader(max_concurrent=2)
    threads = [threading.Thread(target=reader.read, args=([str(n)],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [2]


def test_a_picture_is_saved_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(images.Path, "replace", fail)

    with pytest.raises(OSError, match="No space left"):
        save_picture(draw(5), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("side", [512, 700, 1024])
def test_a_jpeg_decoded_at_the_very_size_asked_for_looks_the_same(
    tmp_path: Path, side: int
) -> None:
    draw(3, 1024, 768).save(tmp_path / "a.jpg", quality=95)

    usual = open_picture(str(tmp_path / "a.jpg"), side)
    exact = open_picture(str(tmp_path / "a.jpg"), side, margin=1)

    assert exact.size == usual.size and max(exact.size) == side
    gap = np.abs(np.asarray(exact, np.float32) - np.asarray(usual, np.float32))
    assert gap.mean() < 2


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_an_image_that_a_full_disk_cuts_is_an_error(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))  # what fits is written: 1 KiB
    try:
        with pytest.raises(OSError, match="File too large"):
            save_picture(Image.fromarray(noise), tmp_path / f"a{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert list(tmp_path.iterdir()) == []
