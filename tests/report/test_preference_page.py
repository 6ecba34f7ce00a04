"""The voting page in a real browser: votes by key and click, sides, progress, the saved file."""

import json
import re

import pytest

from megastyle_cli.preference.vote_ranking import rank_systems
from megastyle_cli.preference.votes import read_votes
from megastyle_cli.report.preference_page import preference_html
from tests import browser
from tests.preference import made
from tests.report.test_gallery import HOSTILE, Elements

needs_browser = pytest.mark.skipif(not browser.PATH, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def tab():
    with browser.browser() as tab:
        yield tab


def start(tab, voter):
    tab.run(f"document.querySelector('#voter').value = {json.dumps(voter)}")
    tab.click("#who button")


def test_words_of_records_do_not_act():
    item = {"id": "i", "reference": "r", "prompt": HOSTILE, "pictures": ["a", "b"]}
    item |= {"questions": ["style", "prompt"]}

    html = preference_html(title=HOSTILE, page="p", items=[item], pictures={"a": "", "b": ""})

    assert len(Elements(html).all("script")) == 2
    (data,) = re.findall('id="data">(.*?)</script>', html, re.S)
    assert json.loads(data)["items"][0]["prompt"] == HOSTILE
    assert HOSTILE not in html


@needs_browser
def test_votes_are_kept_go_back_and_are_saved(tab, tmp_path):
    key = made.page(tmp_path, count=12)
    tab.open(tmp_path / "page" / "page.html", 1440, 900)
    start(tab, "ann")
    first = tab.run("document.querySelector('#left').src")
    for pressed in ("1", "2", "0", "x"):
        tab.press(pressed)
    tab.press("Backspace")
    assert tab.run("document.querySelector('#place').textContent").startswith("4 of ")
    tab.click("[data-choice=tie]")
    tab.open(tmp_path / "page" / "page.html", 1440, 900)  # the page is opened again
    start(tab, "ann")
    assert tab.run("document.querySelector('#place').textContent").startswith("5 of ")
    saved = json.loads(tab.run("votesFile()"))
    assert (saved["voter"], saved["page"]) == ("ann", key.page)
    assert [vote["choice"] for vote in saved["votes"]] == ["left", "right", "tie", "tie"]
    assert all(vote["ms"] >= 0 for vote in saved["votes"])
    start_again = "at = 0; draw(); document.querySelector('#left').src"
    assert tab.run(start_again) == first
    assert not tab.problems and not tab.requests


@needs_browser
def test_a_vote_goes_to_the_picture_that_was_on_that_side(tab, tmp_path):
    """A voter who always takes the picture of one system, wherever it stands, ranks it first."""
    key = made.page(tmp_path, count=30)
    best = {
        item: facts["systems"].index("second")
        for item, facts in key.items.items()
        if "second" in facts.get("systems", ())
    }
    tab.open(tmp_path / "page" / "page.html", 1440, 900)
    start(tab, "bob")
    sides = tab.run(
        f"""(best => {{
          const sides = [];
          while (at < tasks.length) {{
            const [id] = tasks[at];
            const wanted = item.get(id).pictures[best[id] ?? 0];
            const isLeft = one('#left').src === source(wanted);
            sides.push([id, isLeft]);
            one(isLeft ? '[data-choice=left]' : '[data-choice=right]').click();
          }}
          return sides;
        }})({json.dumps(best)})"""
    )
    (tmp_path / "votes.json").write_text(tab.run("votesFile()"))
    assert tab.run("!document.querySelector('#end').hidden")

    side = dict(sides)
    assert {True, False} == set(side.values())
    repeated = [(item, facts["repeats"]) for item, facts in key.items.items() if "repeats" in facts]
    assert repeated and all(side[item] != side[before] for item, before in repeated)
    summary = rank_systems(read_votes([tmp_path / "votes.json"], key, "page"), key, 0)
    assert summary["self_agreement"] == 1 and not summary["left_out"]
    for question in ("style", "prompt"):
        rows = summary["questions"][question]["systems"]
        assert rows[0]["name"] == "second" and rows[0]["losses"] == 0


@needs_browser
@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
@pytest.mark.parametrize("dark", [False, True])
def test_everything_to_vote_with_is_in_sight(tab, tmp_path, width, height, dark):
    made.page(tmp_path, count=12)
    tab.open(tmp_path / "page" / "page.html", width, height, dark=dark)
    start(tab, "ann")
    bottom, right = tab.run(
        "(all => [Math.max(...all.map(b => b.bottom)), Math.max(...all.map(b => b.right))])"
        "([...document.querySelectorAll('#vote button, #vote img')]"
        ".map(e => e.getBoundingClientRect()))"
    )
    assert bottom <= height and right <= width
    assert not tab.problems
