"""The style browser holds every style once, as data, and lets no record's words act."""

import json
import re

import pytest
from PIL import Image

from megastyle_cli.report.style_browser import MAX_PICTURES, browser_html, main_colors
from tests.report.test_gallery import HOSTILE, Elements


def data_of(page):
    return json.loads(re.search('id="styles">(.*?)</script>', page, re.S)[1])


@pytest.fixture
def painted(tmp_path):
    def paint(color):
        path = tmp_path / f"{color}.png"
        Image.new("RGB", (90, 60), color).save(path)
        return str(path)

    return paint


def test_a_style_has_name_prompt_clusters_place_colors_and_picture(painted):
    record = {"id": "a", "style": "In ink.", "file_name": painted("red"), "cluster": 3}
    record |= {"cluster_2": 1, "x": 0.25, "y": -1}

    page = browser_html([record], title="Styles by cluster")

    data = data_of(page)
    ((name, prompt, clusters, place, colors, pictures, facts),) = data["styles"]
    assert (name, prompt, clusters, place) == ("red", "In ink.", [3, 1], [0.25, -1])
    assert [data["colors"][number] for number in colors] == ["red"]
    assert [picture[1:] for picture in pictures] == [[90, 60]]
    assert ["cluster", "3"] in facts
    assert data["hasMap"] is True
    assert "<title>Styles by cluster: 1 style, 1 cluster</title>" in page


def test_there_is_no_map_unless_all_styles_have_a_place():
    records = [{"id": "a", "x": 1, "y": 2}, {"id": "b", "x": 1}]

    page = browser_html(records, title="Styles")

    assert data_of(page)["hasMap"] is False
    assert 'id="zoom"' not in page


def test_images_of_one_style_are_its_pictures(painted):
    records = [
        {"style_id": "s", "style_file_name": painted("red"), "file_name": painted(color)}
        for color in ("blue", "lime")
    ]

    (style,) = data_of(browser_html(records, title="Styles"))["styles"]
    (many,) = data_of(browser_html(records * MAX_PICTURES, title="Styles"))["styles"]

    assert len(style[5]) == len(many[5]) == 3


def test_clusters_are_listed_largest_first_with_their_words():
    records = [
        {"id": str(number), "cluster": number > 0, "style": "In the style of ink wash, red."}
        for number in range(3)
    ]
    records = [{**record, "cluster": int(record["cluster"])} for record in records]

    (level,) = data_of(browser_html(records, title="Styles"))["levels"]

    assert level == ["cluster", [[1, 2, "ink wash"], [0, 1, "ink wash"]]]


@pytest.mark.parametrize(
    ("color", "name"),
    [
        ("#d01010", "red"),
        ("#f09020", "orange"),
        ("#704020", "brown"),
        ("#2040c0", "blue"),
        ("#fafafa", "white"),
        ("#808080", "gray"),
        ("#050505", "black"),
    ],
)
def test_a_plain_picture_has_one_color(color, name):
    assert main_colors(Image.new("RGB", (40, 30), color)) == [name]


def test_a_color_of_a_small_part_is_left_out():
    image = Image.new("RGB", (32, 32), "red")
    image.paste("blue", (0, 0, 32, 12))
    image.paste("white", (0, 0, 4, 4))

    assert main_colors(image) == ["red", "blue"]


def test_words_of_records_stay_words_and_bytes_are_the_same_each_time(painted):
    record = {"id": HOSTILE, "style": HOSTILE, "style_identity": HOSTILE, "cluster": 0}
    calm = {"id": "x", "style": "x", "style_identity": "x", "cluster": 0}

    page = browser_html([record], title=HOSTILE)

    tags = [tag for tag, _ in Elements(page).tags]
    assert tags == [tag for tag, _ in Elements(browser_html([calm], title="x")).tags]
    assert page == browser_html([record], title=HOSTILE)
    assert HOSTILE in data_of(page)["styles"][0][1]


def test_an_unreadable_picture_leaves_the_words(tmp_path):
    record = {"id": "a", "style": "In ink.", "file_name": str(tmp_path / "gone.png")}

    (style,) = data_of(browser_html([record, {}], title="Styles"))["styles"][:1]

    assert style[:2] == ["gone", "In ink."] and style[5] == []
