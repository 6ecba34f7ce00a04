"""The open benchmark: the families that ship, and images of a typeface, drawn from a font."""

import json
import runpy
from importlib.resources import files

import pytest
from PIL import Image, ImageFont

from megastyle_cli.benchmark.folder import open_benchmark
from tests.contract.tree import ROOT

FAMILIES = ROOT / "examples" / "open_benchmark" / "families"
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


def test_the_families_that_ship_are_sealed_licensed_and_unknown_to_the_builtin_encoder():
    settings, rows = open_benchmark(FAMILIES)

    weights = files("megastyle_cli.models.builtin") / "weights"
    fitted = {
        style.partition("-")[2]
        for style in json.loads((weights / "trained_on.json").read_text())["icons"]
    }
    styles = {row["style_id"] for row in rows}
    assert (settings.styles, settings.queries, settings.gallery) == (48, 288, 864)
    assert settings.groups == 48  # no design twice
    assert not styles & fitted
    assert set(settings.licenses) == {"MIT", "Apache-2.0", "OFL-1.1", "CC-BY-4.0", "BSD-3-Clause"}
    assert all(row["author"] and row["source"] for row in rows)
    size = sum(path.stat().st_size for path in FAMILIES.rglob("*") if path.is_file())
    assert size < 3_000_000
