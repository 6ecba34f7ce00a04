"""The pixel hash: equal for equal pixels, whatever encoded them."""

import pytest

from megastyle_cli.benchmark.pixel_hash import file_pixel_hash, pixel_hash
from megastyle_cli.core.errors import BadRecord
from tests.conftest import draw


def test_equal_pixels_in_other_files_have_one_hash(tmp_path):
    image = draw(1, 20, 30)
    for name, options in (
        ("a.png", {"compress_level": 0}),
        ("b.png", {"compress_level": 9}),
        ("c.bmp", {}),
        ("d.webp", {"lossless": True}),
    ):
        image.save(tmp_path / name, **options)

    hashes = {file_pixel_hash(str(path)) for path in tmp_path.iterdir()}

    assert hashes == {pixel_hash(image)}
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 4


def test_one_pixel_changes_the_hash():
    image, other = draw(1, 20, 30), draw(1, 20, 30)
    other.putpixel((3, 4), tuple(255 - c for c in other.getpixel((3, 4))))

    assert pixel_hash(image) != pixel_hash(other)


def test_the_size_is_part_of_the_hash():
    flat = draw(1, 8, 8).resize((4, 6))

    assert pixel_hash(flat.point(lambda _: 0)) != pixel_hash(flat.resize((6, 4)).point(lambda _: 0))


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(BadRecord, match=r"gone\.png"):
        file_pixel_hash(str(tmp_path / "gone.png"))
