"""Thumbnails: small, in the page once, and words where there is no image."""

import base64
import io
import shutil

import pytest
from PIL import Image

from megastyle_cli.report.rows import tile_of
from megastyle_cli.report.thumbnails import THUMBNAIL_PX, picture, shared_pictures, thumbnails
from tests.report.test_gallery import HOSTILE, Elements


@pytest.fixture
def painted(tmp_path):
    def paint(color, size=(900, 600)):
        path = tmp_path / f"{color}.png"
        Image.new("RGB", size, color).save(path)
        return str(path)

    return paint


def tile(path, **more):
    return tile_of({"file_name": path, "content": "A frog", **more})


def test_a_thumbnail_is_the_image_made_small(painted):
    path = painted("red")

    (found,) = thumbnails([tile(path)]).values()

    content = base64.b64decode(found.address.removeprefix("data:image/webp;base64,"))
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (found.width, found.height)
        red, green, blue = image.convert("RGB").getpixel((5, 5))
    assert max(found.width, found.height) <= THUMBNAIL_PX
    assert found.width / found.height == pytest.approx(1.5, abs=0.01)
    assert red > 240 > 20 > max(green, blue)


def test_an_image_shown_twice_is_shared_also_by_a_copy_of_it(painted, tmp_path):
    red, blue = painted("red"), painted("blue")
    copy = str(tmp_path / "copy.png")
    shutil.copy(red, copy)

    found = thumbnails([tile(red), tile(copy), tile(blue)])

    assert [found[name].is_shared for name in (red, copy, blue)] == [True, True, False]
    assert found[red] == found[copy]
    rules = shared_pictures(found)
    assert rules == f".{found[red].name}{{background-image:url({found[red].address})}}"


def test_a_tile_shows_its_image_or_refers_to_the_style_sheet(painted):
    red, blue = painted("red"), painted("blue")
    found = thumbnails([tile(red), tile(red), tile(blue)])

    ((_, shared),) = Elements(picture(tile(red), found)).tags
    ((_, single),) = Elements(picture(tile(blue), found)).tags

    assert shared["class"] == f"picture {found[red].name}" and "svg" in shared["src"]
    assert single["class"] == "picture" and single["src"] == found[blue].address
    assert single["alt"] == "A frog"
    assert (single["width"], single["height"]) == (str(found[blue].width), str(found[blue].height))


def test_an_image_that_cannot_be_read_is_told_in_words(tmp_path):
    gone = tile(str(tmp_path / "gone.png"), style="In ink.")

    assert thumbnails([gone, tile("")]) == {}
    page = Elements(picture(gone, {}))
    assert page.all("img") == [] and page.text == "unreadable pictureA frogIn ink."
    assert Elements(picture(tile(""), {})).text == "A frog"


def test_words_of_a_tile_stay_words(painted):
    red = painted("red")
    hostile = {"content": HOSTILE, "style": HOSTILE}

    with_image = Elements(picture(tile(red, **hostile), thumbnails([tile(red)])))
    without = Elements(picture(tile("", **hostile), {}))

    ((_, image),) = with_image.tags
    assert image.keys() == {"class", "src", "alt", "width", "height", "decoding"}
    assert {name for name, _ in without.tags} <= {"span", "small", "wbr"}
