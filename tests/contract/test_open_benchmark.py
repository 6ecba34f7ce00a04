"""The open benchmark: pictures of a typeface, drawn from a real font."""

import runpy

import pytest
from PIL import Image, ImageFont

from tests.contract.tree import ROOT

SCRIPT = ROOT / "examples" / "open_benchmark" / "typefaces.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture
def font(tmp_path):
    """The font that Pillow carries, as a file."""
    path = tmp_path / "aileron.ttf"
    path.write_bytes(ImageFont.load_default(20).path.getvalue())
    return path


def test_a_face_has_a_picture_for_each_character(script, font, tmp_path):
    records = script["face"](font, tmp_path / "out")

    assert [record["content_id"] for record in records] == list(script["CHARACTERS"])
    assert {record["style_id"] for record in records} == {"aileron"}
    assert len({record["design"] for record in records}) == 1
    for record in records:
        with Image.open(tmp_path / "out" / record["file_name"]) as image:
            assert image.size == (128, 128) and image.mode == "L"
            left, top, right, bottom = image.point(lambda value: 255 - value).getbbox()
            assert 60 <= max(right - left, bottom - top) <= 104
            assert abs((left + right) / 2 - 64) <= 8 and abs((top + bottom) / 2 - 64) <= 8


def test_a_file_that_is_no_font_has_no_pictures(script, tmp_path):
    (tmp_path / "a.ttf").write_bytes(b"no font")

    assert script["face"](tmp_path / "a.ttf", tmp_path / "out") == []
    assert not (tmp_path / "out").exists()
