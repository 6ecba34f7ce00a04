"""Templates escape every value, a page admits only its own style and script, and is whole."""

import base64
import hashlib
import re

import pytest
from jinja2 import UndefinedError

from megastyle_cli.report.html import breakable, part, policy, render, write_document
from tests.report.test_gallery import HOSTILE


@pytest.mark.parametrize("template", ["gallery.html", "eval_report.html", "style_browser.html"])
def test_a_template_refuses_to_be_rendered_without_its_values(template):
    with pytest.raises(UndefinedError):
        render(template)


def test_words_may_break_in_paths_and_names_and_stay_words():
    assert str(breakable("a_b/c")) == "a_<wbr>b/<wbr>c"
    escaped = str(breakable(HOSTILE))
    assert set(re.findall("<.*?>", escaped)) == {"<wbr>"}


def test_the_policy_admits_style_and_script_by_their_hash():
    rules = policy(style="p { }", script="f();")

    for name, text in (("style-src", "p { }"), ("script-src", "f();")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in rules
    assert rules.startswith("default-src 'none'; img-src data:;")
    assert "script-src" not in policy(style="p { }")


def test_style_sheets_and_scripts_cannot_close_their_element():
    for name, end in (
        ("look.css", "</style"),
        ("page.css", "</style"),
        ("report.css", "</style"),
        ("style_browser.css", "</style"),
        ("look.js", "</script"),
        ("page.js", "</script"),
        ("style_browser.js", "</script"),
    ):
        assert end not in part(name).lower()


def test_a_page_is_written_whole_with_what_utf_8_cannot_hold_replaced(tmp_path):
    path = tmp_path / "new" / "page.html"

    write_document("\u00e9 \udcff", path)

    assert path.read_text(encoding="utf-8") == "\u00e9 ?"
    assert list(path.parent.iterdir()) == [path]
