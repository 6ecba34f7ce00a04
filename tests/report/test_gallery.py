"""The page holds every picture once, lets no record's words act, and works in a real browser."""

import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser

import pytest
from PIL import Image

from megastyle_cli.report.gallery import write_page

HOSTILE = "\"'></script></style><script>document.title='owned'</script><img src=x onerror=f()>&"
BROWSER = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)


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


def written(tmp_path, records, **more):
    path = tmp_path / "page.html"
    write_page(records, path, title=more.pop("title", "trial"), **more)
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
        "A frog: In the style of ink.",
        "Style reference: In the style of oil.",
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

    hostile = Elements(written(tmp_path, [record], title=HOSTILE, summary={HOSTILE: 1}))
    harmless = Elements(written(tmp_path, [calm], title="x", summary={"x": 1}))

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


def test_the_summary_shows_its_numbers_with_their_range(tmp_path):
    summary = {
        "n": 1200,
        "style_score": 0.7019,
        "style_score_low": 0.694,
        "style_score_high": 0.711,
        "_megastyle": {"eval": {}},
    }

    page = written(tmp_path, [], summary=summary)

    figures = re.search(r'<dl class="figures".*?</dl>', page)[0]
    message = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", figures)
    assert [(name, unescape(re.sub("<.*?>", "", value))) for name, value in message] == [
        ("n", "1,200"),
        ("style score", "0.702 0.694\u20130.711"),
    ]


def test_a_photograph_takes_less_than_thirty_kilobytes(tmp_path):
    for number in range(10):
        noise = Image.effect_noise((48, 36), 60).resize((640, 480), Image.Resampling.BICUBIC)
        noise.convert("RGB").save(tmp_path / f"{number}.jpg")

    page = written(tmp_path, [{"file_name": str(tmp_path / f"{n}.jpg")} for n in range(10)])

    assert len(page) - len(written(tmp_path, [])) < 300_000


def test_a_written_page_leaves_nothing_else(tmp_path):
    write_page([{"id": "a"}], tmp_path / "new" / "page.html", title="one")

    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]


def dumped_dom(url, tmp_path, *options):
    """The page as the browser leaves it, after its scripts and its frames' have run."""
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path / 'profile'}",
        *options,
        "--dump-dom",
        url,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


# The page itself is untouched: it runs in a frame as wide as a phone and is used from outside.
VISITOR = """<!doctype html><pre></pre>
<iframe src="page.html#q=BOAT" style="width:390px;height:844px"></iframe>
<script>
const frame = document.querySelector("iframe");
const seen = {};
addEventListener("load", () => {
  const page = frame.contentDocument;
  const press = (key) => (page.activeElement ?? page.body).dispatchEvent(
    new frame.contentWindow.KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  const shown = () => [...page.querySelectorAll(".tile")]
    .filter((tile) => !tile.closest("[hidden]"))
    .map((tile) => tile.querySelector(".title").textContent);
  const type = (words) => {
    page.querySelector("#q").value = words;
    page.querySelector("#q").dispatchEvent(new frame.contentWindow.Event("input"));
  };
  const look = () => [page.querySelector("#look").open, page.querySelector("#look h2").textContent];

  seen.from_fragment = [shown(), page.querySelector("#found").textContent];
  press("/");
  seen.slash_focuses = page.activeElement.id;
  type("cezanne oil");
  seen.typed = [shown(), frame.contentWindow.location.hash];
  type("nowhere");
  seen.nothing = [shown(), page.querySelector("#nothing").hidden];
  press("Escape");
  seen.cleared = shown().length;
  page.querySelectorAll("button.head")[1].click();
  seen.one_style = [shown(), page.querySelectorAll(".chips [aria-pressed=true]").length];
  page.querySelectorAll("button.head")[1].click();
  const first = page.querySelector(".open");
  first.focus();
  first.click();
  seen.opened = look();
  press("ArrowRight");
  seen.right = look();
  seen.reference = page.querySelectorAll("#look .reference img").length;
  seen.wide_open = page.querySelector("#look").scrollWidth;
  press("ArrowLeft");
  press("ArrowLeft");
  seen.left = look();
  press("ArrowRight");
  page.querySelector(".close").click();
  setTimeout(() => {
    seen.focus_goes_to_the_last_seen = page.activeElement === page.querySelectorAll(".open")[1];
    seen.width = [page.documentElement.scrollWidth, page.documentElement.clientWidth];
    seen.title = page.title;
    document.querySelector("pre").textContent = JSON.stringify(seen);
  }, 50);
});
</script>
"""


@pytest.mark.skipif(BROWSER is None, reason="needs a browser of the Chromium family")
def test_a_visitor_with_a_phone_can_search_and_look_closer(tmp_path, painted):
    records = style_records(painted)
    records[1]["style_identity"] = records[0]["style_identity"] = HOSTILE + "wide" * 60
    written(tmp_path, records, summary={f"measure_{n}": n / 7 for n in range(12)})
    (tmp_path / "visit.html").write_text(VISITOR)

    dom = dumped_dom(
        (tmp_path / "visit.html").as_uri(),
        tmp_path,
        "--allow-file-access-from-files",
        "--virtual-time-budget=2000",
    )

    seen = json.loads(unescape(re.search("<pre>(.*?)</pre>", dom)[1]))
    assert seen == {
        "from_fragment": [["A boat on rough sea", "A boat at rest"], "2 of 4"],
        "slash_focuses": "q",
        "typed": [["Paul C\u00e9zanne"], "#q=cezanne+oil"],
        "nothing": [[], False],
        "cleared": 4,
        "one_style": [["A boat at rest", "Paul C\u00e9zanne"], 1],
        "opened": [True, "A boat on rough sea"],
        "right": [True, "A frog"],
        "reference": 1,
        "wide_open": 390,
        "left": [True, "A boat on rough sea"],
        "focus_goes_to_the_last_seen": True,
        "width": [390, 390],
        "title": "trial",
    }
