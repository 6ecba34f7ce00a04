"""The folder for voters: nothing in the page names a system, and the key is read strictly."""

import base64
import io
import json
import re

import pytest
from PIL import Image

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.preference.comparisons import draw_comparisons
from megastyle_cli.preference.voting_folder import read_key, write_page
from tests.preference import made


def data_of(folder):
    html = (folder / "page.html").read_text()
    return json.loads(re.search('id="data">(.*?)</script>', html, re.S)[1])


def test_the_page_names_no_system_and_no_file(tmp_path):
    made.page(tmp_path)

    html = (tmp_path / "page" / "page.html").read_text()

    for word in ("first-", "second", "third", ".png", str(tmp_path)):
        assert word not in html


def test_every_comparison_has_its_pictures_and_the_key_tells_the_systems(tmp_path):
    key = made.page(tmp_path)

    data = data_of(tmp_path / "page")
    assert data["page"] == key.page
    assert {item["id"] for item in data["items"]} == key.items.keys()
    for item in data["items"]:
        assert {item["reference"], *item["pictures"]} <= data["pictures"].keys()
    votes = [facts for facts in key.items.values() if facts["kind"] == "vote"]
    assert all(set(facts["systems"]) <= set(key.systems) for facts in votes)
    assert read_key(tmp_path / "page") == key


def test_pictures_lose_their_metadata(tmp_path):
    systems = made.systems(tmp_path)
    exif = Image.Exif()
    exif[0x010E] = "made by first"
    record = systems["first"][0]
    Image.new("RGB", (9, 9), "teal").save(record["file_name"], exif=exif)
    write_page(tmp_path / "page", draw_comparisons(systems, 60, 0), list(systems), title="T")

    for picture in data_of(tmp_path / "page")["pictures"].values():
        webp = base64.b64decode(picture)
        assert b"first" not in webp
        assert not Image.open(io.BytesIO(webp)).getexif()


def test_a_control_shows_a_part_of_the_reference_and_of_another(tmp_path):
    key = made.page(tmp_path)
    data = data_of(tmp_path / "page")

    (item, *_) = [i for i in data["items"] if key.items[i["id"]]["kind"] == "control"]
    right, wrong, whole = (
        Image.open(io.BytesIO(base64.b64decode(data["pictures"][name]))).convert("RGB")
        for name in (*item["pictures"], item["reference"])
    )

    assert right.size == wrong.size == (28, 21)
    pixel = (3, 3)
    assert right.getpixel(pixel) == pytest.approx(whole.getpixel(pixel), abs=4)
    assert wrong.getpixel(pixel) != pytest.approx(whole.getpixel(pixel), abs=40)


def test_two_runs_give_equal_bytes(tmp_path):
    made.page(tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "page").iterdir()}
    made.page(tmp_path)

    assert before == {path.name: path.read_bytes() for path in (tmp_path / "page").iterdir()}


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    systems = made.systems(tmp_path)
    (tmp_path / "first-0-0.png").write_bytes(b"no picture")

    with pytest.raises(MegastyleError, match="first-0-0.png"):
        write_page(tmp_path / "page", draw_comparisons(systems, 60, 0), ["first"], title="T")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "has no key.json"),
        ("{", "is damaged"),
        ('{"version": 1, "page": 3, "systems": [], "items": {}}', "is damaged: page is 3"),
        ('{"version": 2, "page": "", "systems": [], "items": {}}', "has version 2"),
    ],
)
def test_a_key_that_is_missing_damaged_or_newer_is_refused(tmp_path, content, words):
    if content is not None:
        (tmp_path / "key.json").write_text(content)

    with pytest.raises(MegastyleError, match=words):
        read_key(tmp_path)
