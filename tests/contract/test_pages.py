"""Pages in a real browser: nothing wider than the screen, nothing fetched, usable by keyboard."""

from dataclasses import replace

import pytest
from PIL import Image

from megastyle_cli.report.benchmark_report import write_benchmark_report
from megastyle_cli.report.eval_report import Bar, write_report
from megastyle_cli.report.gallery import write_page
from megastyle_cli.report.rows import rows_of
from megastyle_cli.report.style_browser import write_browser
from tests.browser import PATH, browser
from tests.report.test_benchmark_report import page_data
from tests.report.test_gallery import HOSTILE

pytestmark = pytest.mark.skipif(PATH is None, reason="needs a browser of the Chromium family")

SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
SHOWN = "all('.tile').filter(t => !t.closest('[hidden]')).map(t => one('.title', t).textContent)"
NOTE = "one('.note').textContent"
LOOK = "[one('#look').open, one('#look-title').textContent]"


@pytest.fixture(scope="module")
def tab():
    with browser() as tab:
        yield tab


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for number, color in enumerate(("red", "gold", "blue", "lime", "navy", "teal", "gray", "pink")):
        Image.new("RGB", (90, 60 + 9 * number), color).save(folder / f"{color}.png")
    return folder


def records(folder):
    """Two styles of two images each, with references and photographs."""
    contents = ("A boat on rough sea", "A frog", "A boat at rest", "Paul C\u00e9zanne")
    return [
        {
            "id": str(number),
            "style_id": style,
            "style": f"In the style of {style} wash.",
            "style_identity": f"{style} wash",
            "style_file_name": str(folder / f"{reference}.png"),
            "content": content,
            "content_file_name": str(folder / f"{photograph}.png"),
            "file_name": str(folder / f"{result}.png"),
            "style_score": 0.5,
        }
        for number, (style, reference, content, photograph, result) in enumerate(
            zip(
                ("ink", "ink", "oil", "oil"),
                ("red", "red", "gold", "gold"),
                contents,
                ("blue", "lime", "navy", "teal"),
                ("gray", "pink", "gray", "teal"),
                strict=True,
            )
        )
    ]


def styles(folder):
    """Clustered styles: one of each color, and one of hostile words without a picture."""
    colored = [
        {
            "id": color,
            "style": f"In the style of {color} wash.",
            "file_name": str(folder / f"{color}.png"),
            "cluster": number,
            "cluster_2": number // 2,
            "x": number / 3,
            "y": -(number**2),
        }
        for number, color in enumerate(("red", "gold", "blue", "lime"))
    ]
    return [*colored, {**colored[0], "style": HOSTILE, "id": HOSTILE, "file_name": ""}]


@pytest.fixture(scope="module")
def pages(folder):
    """A page of each kind, some of their words hostile and wide."""
    wide = {**records(folder)[0], "style_id": "w", "style": HOSTILE, "content": HOSTILE + "w" * 300}
    rows = rows_of([*records(folder), wide])
    write_page([replace(row, title=row.title * 9) for row in rows], folder / "wide.html", title="w")
    write_page(rows_of(records(folder)), folder / "gallery.html", title="Style scores")
    write_report(
        folder / "report.html",
        title="long" * 80,
        summary={"n": 4, "style_score": 0.7, "style_score_low": 0.6, "random_style_score": 0.3},
        histograms={"same style": [0.7, 0.8], "different styles": [0.1, 0.2]},
        bars=[Bar("a rather long name / and a path" * 3, n / 90, n, "") for n in range(60)],
        worst=[{**each, "why": "far" * 60} for each in [*records(folder), wide]],
    )
    systems = page_data(folder, "a rather long name / and a path" * 3)
    write_benchmark_report(folder / "benchmark.html", **systems)
    write_browser(styles(folder), folder / "browser.html", title="Styles by cluster")
    return sorted(folder.glob("*.html"))


@pytest.mark.parametrize("size", SIZES)
def test_a_page_fits_the_screen_logs_nothing_and_fetches_nothing(tab, pages, size):
    for page in pages:
        tab.open(page, *SIZES[size])
        widths = tab.run(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        tab.run("one('.open').click()")
        wide_open = tab.run("one('#look').scrollWidth - one('#look').clientWidth")

        assert (page.name, widths[0], wide_open) == (page.name, widths[1], 0)
        assert (tab.problems, tab.requests) == ([], [])


def test_rows_of_few_images_use_more_than_half_of_a_wide_screen(tab, pages, folder):
    tab.open(folder / "gallery.html", 1440, 900)

    ends = tab.run("all('.row').map(r => all('.tile', r).at(-1).getBoundingClientRect().right)")

    assert len(ends) == 2 and min(ends) > 720


def test_dark_mode_has_other_colors_and_both_are_legible(tab, pages):
    for page in pages:
        contrasts, grounds = [], set()
        for dark in (False, True):
            tab.open(page, 1440, 900, dark=dark)
            ground, *inks = tab.run(
                "['--ground', '--ink', '--muted', '--accent'].map(name => {"
                " const c = parseInt(getComputedStyle(document.documentElement)"
                ".getPropertyValue(name).slice(1), 16);"
                " return [16, 8, 0].map(n => (c >> n & 255) / 255)"
                ".map(x => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4)"
                ".reduce((sum, x, i) => sum + x * [.2126, .7152, .0722][i], 0) })"
            )
            grounds.add(ground)
            contrasts += [(max(i, ground) + 0.05) / (min(i, ground) + 0.05) for i in inks]

        assert len(grounds) == 2
        assert min(contrasts) >= 4.5  # WCAG 2.2, AA


def test_the_gallery_is_searched_by_words_and_kept_to_one_style(tab, pages, folder):
    tab.open(folder / "gallery.html", 390, 844)

    tab.press("/")
    tab.call("Input.insertText", text="cezanne oil")
    assert tab.run(SHOWN) == ["Paul C\u00e9zanne"]
    assert tab.run("location.hash") == "#q=cezanne+oil"
    tab.press("Escape")
    assert tab.run("one('#found').textContent") == "4 shown"
    tab.click("section:nth-of-type(2) .head")
    assert tab.run(SHOWN) == ["A boat at rest", "Paul C\u00e9zanne"]
    assert "gold" in tab.run("document.body.innerText")


def test_the_close_up_opens_by_mouse_and_keyboard_and_shows_three_pictures(tab, pages, folder):
    tab.open(folder / "gallery.html", 1440, 900)

    tab.click(".open")
    assert tab.run(LOOK) == [True, "A boat on rough sea"]
    assert tab.run("all('.seen figcaption').map(e => e.textContent)") == [
        "content",
        "style: red",
        "result",
    ]
    assert "0.500" in tab.run("one('#look').innerText")
    assert "In the style of ink wash." in tab.run("one('#look').innerText")
    tab.press("ArrowRight")
    tab.press("ArrowRight")
    assert tab.run(LOOK) == [True, "A boat at rest"]
    tab.press("ArrowLeft")
    assert tab.run(LOOK) == [True, "A frog"]
    tab.run("void look.addEventListener('close', () => { document.title = 'closed' })")
    tab.press("Escape")
    while tab.run("document.title") != "closed":
        pass
    assert tab.run("document.activeElement === all('.open')[1]")
    tab.press("Enter")
    assert tab.run(LOOK) == [True, "A frog"]


def test_the_style_browser_is_filtered_by_words_color_and_cluster(tab, pages, folder):
    def names():
        return tab.run("shown.map(number => styles[number].name)")

    tab.open(folder / "browser.html", 1440, 900)
    assert tab.run("document.title") == "Styles by cluster: 5 styles, 4 clusters"
    tab.click("#grid")
    tab.click("#q")
    tab.call("Input.insertText", text="blue wash")
    assert names() == ["blue"]
    tab.run("one('#q').value = ''; filter()")
    tab.click(".color.red")
    assert names() == ["red"]
    tab.click(".color.red")
    tab.run("one('#cluster').value = '1 1'; one('#cluster').dispatchEvent(new Event('change'))")
    assert names() == ["blue", "lime"]


def test_a_style_opens_with_its_prompt_to_copy(tab, pages, folder):
    tab.open(folder / "browser.html", 390, 844)

    tab.click("#grid")
    tab.click(".tile:nth-child(2) .open")
    tab.press("ArrowRight")
    assert tab.run(LOOK) == [True, "gold"]
    assert tab.run("one('#look .words').textContent") == "In the style of gold wash."
    assert tab.run(NOTE) == ""
    tab.click(".copy")
    while not tab.run(NOTE):
        pass
    assert tab.run(NOTE) in ("Prompt copied", "Press Ctrl+C")


def test_a_click_on_a_style_copies_its_prompt_where_the_clipboard_is_allowed(tab, pages, folder):
    tab.open(folder / "browser.html", 390, 844)
    tab.run("void (navigator.clipboard.writeText = async words => { document.title = words })")

    tab.click("#grid")
    tab.click(".tile:nth-child(3) .open")

    while not tab.run(NOTE):
        pass
    assert tab.run(LOOK) == [True, "gold"]
    assert tab.run(NOTE) == "Prompt copied"
    assert tab.run("document.title") == "In the style of gold wash."
    assert tab.run("[one('#look').scrollWidth, one('.tools').clientHeight]") == [390, 56]

    tab.run("void (navigator.clipboard.writeText = async () => { document.title = ''; throw 0 })")
    tab.run("one('#look').close()")
    tab.click(".tile:nth-child(4) .open")
    assert tab.run("document.title") == ""
    assert (tab.run(NOTE), tab.problems) == ("", [])
    assert tab.run("one('.copy').checkVisibility()")


def test_of_many_styles_only_those_in_sight_are_drawn(tab, pages, folder):
    many = [{"id": f"style {number}", "style": "x"} for number in range(5000)]
    write_browser(many, folder / "many.html", title="Styles")

    tab.open(folder / "many.html", 1440, 900)

    assert tab.run("[styles.length, all('.tile').length < 100]") == [5000, True]
    tab.run("field.scrollTop = field.scrollHeight; draw()")
    assert tab.run("drawn.has(4999) && all('.tile').length < 100")


def test_the_report_has_the_close_up_too(tab, pages, folder):
    tab.open(folder / "report.html", 1440, 900)

    tab.click(".case:nth-child(2) .open")

    assert tab.run(LOOK) == [True, "A frog"]
    assert tab.run("all('.seen figcaption').map(e => e.textContent)") == [
        "content",
        "style reference",
        "result",
    ]


def test_two_systems_of_a_benchmark_are_plotted_style_by_style(tab, pages, folder):
    tab.open(folder / "benchmark.html", 1440, 900)
    dots = "all('#scatter circle').map(dot => ['cx', 'cy'].map(name => dot.getAttribute(name)))"
    assert tab.run(dots) == [["0%", "50%"], ["25%", "0%"]]

    tab.run("one('#left').value = 1; one('#left').dispatchEvent(new Event('change'))")

    assert tab.run(dots) == [["0%", "100%"], ["25%", "75%"]]
    assert "in 0; 2 are equal" in tab.run("one('#better').textContent")
