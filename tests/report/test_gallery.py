"""The page holds every picture once and lets no record's words act."""

import re
import shutil
from html.parser import HTMLParser

import pytest
from PIL import Image

from megastyle_cli.report.gallery import write_page
from megastyle_cli.report.rows import rows_of

HOSTILE = "\"'></script></style><script>document.title='owned'</script><img src=x onerror=f()>&"


class Elements(HTMLParser):
    """All start tags of a page with their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def painted(tmp_path):
    """Says the path of a picture of one colour, drawn on demand."""

    def paint(color):
        path = tmp_path / f"{color}.png"
        Image.new("RGB", (90, 60), color).save(path)
        return str(path)

    return paint


def written(tmp_path, records, title="trial"):
    path = tmp_path / "page.html"
    write_page(rows_of(records), path, title=title)
    return path.read_text()


def style_records(painted):
    return [
        {
            "id": f"{style}-{number}",
            "style_id": style,
            "style": f"In the style of {style}.",
            "style_file_name": painted(reference),
            "content": content,
            "file_name": painted(color),
            "style_score": 0.5,
        }
        for style, reference, contents in (
            ("ink", "red", {"A boat on rough sea": "blue", "A frog": "lime"}),
            ("oil", "gold", {"A boat at rest": "navy", "Paul C\u00e9zanne": "teal"}),
        )
        for number, (content, color) in enumerate(contents.items())
    ]


def test_pictures_stand_in_the_html_each_with_words_for_it(tmp_path, painted):
    images = Elements(written(tmp_path, style_records(painted))).all("img")

    assert len(images) == 6
    assert all(image["src"].startswith("data:image/webp;base64,") for image in images)
    assert len({image["src"] for image in images}) == 6
    assert {image["alt"] for image in images} > {
        "A frog",
        "Style reference: gold",
    }


def test_a_picture_shown_often_is_in_the_file_once(tmp_path, painted):
    copy = tmp_path / "same_bytes.png"
    shutil.copy(painted("red"), copy)
    names = [painted("red"), str(copy), painted("blue")]
    neighbors = [{"id": name, "score": 0.5, "file_name": name} for name in names]
    queries = [{"id": q, "file_name": painted("lime"), "neighbors": neighbors} for q in "ab"]

    page = written(tmp_path, queries)

    addresses = re.findall(r"data:image/webp;base64,[\w+/=]+", page)
    assert len(addresses) == len(set(addresses)) == 3
    images = Elements(page).all("img")
    assert len(images) == 8
    assert all(image["alt"] for image in images)
    for image in images:
        # Shown by the style sheet, so without the script as well.
        (name,) = image["class"].replace("picture", "").split()
        assert f".{name}{{background-image:url(data:" in page


def test_words_of_records_stay_words(tmp_path, painted):
    record = {
        "id": HOSTILE,
        "content": HOSTILE,
        "style": HOSTILE,
        "style_id": HOSTILE,
        "style_identity": HOSTILE,
        "style_file_name": painted("red"),
        "file_name": painted("blue"),
    }
    calm = {
        **record,
        **dict.fromkeys(("id", "content", "style", "style_id", "style_identity"), "x"),
    }

    hostile = Elements(written(tmp_path, [record], title=HOSTILE))
    harmless = Elements(written(tmp_path, [calm], title="x"))

    assert [tag for tag, _ in hostile.tags if tag != "wbr"] == [
        tag for tag, _ in harmless.tags if tag != "wbr"
    ]
    assert all(not name.startswith("on") for _, attributes in hostile.tags for name in attributes)
    assert hostile.text.count("document.title='owned'") >= 5


def test_only_the_pages_own_script_and_style_are_admitted(tmp_path):
    policy = next(
        each["content"]
        for each in Elements(written(tmp_path, [])).all("meta")
        if each.get("http-equiv") == "Content-Security-Policy"
    )

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == 2


def test_records_without_a_readable_picture_are_words(tmp_path):
    records = [
        {"id": "gone", "file_name": str(tmp_path / "none.png"), "content": "A bench"},
        {"id": "words", "style": "In the style of ink."},
        {"id": "\ud800", "content": "\U0001f600 \u6d6a"},
    ]

    page = Elements(written(tmp_path, records, title="\udcff"))

    assert page.all("img") == []
    assert "unreadable picture" in page.text
    assert "\U0001f600 \u6d6a" in page.text


def test_the_title_and_the_legend_say_what_is_on_the_page(tmp_path, painted):
    records = style_records(painted)
    page = written(tmp_path, records, title="Style scores")

    assert "<title>Style scores: 2 styles, 4 images</title>" in page
    assert "The number on an image is its style score" in page
    one = written(tmp_path, [{**records[0], "style_score": None}], title="Restyled with red")
    assert "<title>Restyled with red: 1 image</title>" in one
    assert "The number on" not in one


def test_a_prompt_is_printed_once_beside_its_style(tmp_path, painted):
    page = written(tmp_path, style_records(painted))

    assert page.count("In the style of ink.") == 1
    assert '<h2>red</h2><p class="words">In the style of ink.</p>' in page


def test_the_content_photograph_waits_for_the_close_up(tmp_path, painted):
    record = {"file_name": painted("blue"), "content_file_name": painted("lime")}

    page = written(tmp_path, [record])

    assert re.search('<span class="content" hidden><img [^>]*alt="Content: blue"', page)


def test_the_bytes_of_a_page_are_the_same_each_time(tmp_path, painted):
    records = style_records(painted)

    assert written(tmp_path, records) == written(tmp_path, records)


def test_a_photograph_takes_less_than_thirty_kilobytes(tmp_path):
    for number in range(10):
        noise = Image.effect_noise((48, 36), 60).resize((640, 480), Image.Resampling.BICUBIC)
        noise.convert("RGB").save(tmp_path / f"{number}.jpg")

    page = written(tmp_path, [{"file_name": str(tmp_path / f"{n}.jpg")} for n in range(10)])

    assert len(page) - len(written(tmp_path, [])) < 300_000


def test_a_written_page_leaves_nothing_else(tmp_path):
    write_page(rows_of([{"id": "a"}]), tmp_path / "new" / "page.html", title="one")

    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]
