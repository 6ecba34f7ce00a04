"""The sheet and the page of a command: refused early, written only if they are wanted."""

from pathlib import Path

import pytest
from PIL import Image

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.report.outputs import check_views, write_views

RECORDS = [{"id": "a", "content": "A frog"}]


@pytest.mark.parametrize(
    ("sheet", "page", "suffix"),
    [("s.gif", None, ".png"), ("s", None, ".png"), (None, "p.png", ".html")],
)
def test_a_name_with_another_ending_is_refused(sheet, page, suffix):
    paths = [None if name is None else Path(name) for name in (sheet, page)]

    with pytest.raises(MegastyleError, match=f"does not end in {suffix}"):
        check_views(*paths)


@pytest.mark.parametrize("name", ["s.png", "s.jpg", "s.webp"])
def test_names_with_a_known_ending_are_accepted(name, tmp_path):
    check_views(tmp_path / name, tmp_path / "p.htm")
    check_views(None, tmp_path / "not_there_yet" / "p.html")


def test_a_folder_that_is_not_writable_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # as root every folder is writable

    with pytest.raises(MegastyleError, match="is not writable"):
        check_views(tmp_path / "s.png", None)


def test_only_what_is_wanted_is_written(tmp_path):
    write_views(RECORDS, tmp_path / "s.png", None, title="trial")
    assert [path.name for path in tmp_path.iterdir()] == ["s.png"]

    write_views(RECORDS, None, tmp_path / "p.html", title="trial")
    page = (tmp_path / "p.html").read_text()
    assert "A frog" in page


def test_a_stopped_run_writes_nothing(tmp_path):
    write_views(None, tmp_path / "s.png", tmp_path / "p.html", title="trial")

    assert list(tmp_path.iterdir()) == []


def test_a_sheet_replaces_no_picture_of_the_output(tmp_path):
    picture = tmp_path / "sheet.png"
    picture.write_bytes(b"of the output")

    with pytest.raises(MegastyleError, match=r"sheet\.png is an image of the output"):
        write_views([{"id": "a", "file_name": str(picture)}], picture, None, title="")

    assert picture.read_bytes() == b"of the output"


def test_a_mix_shows_every_style_with_its_share(tmp_path):
    for name in ("wave", "lion", "cat"):
        Image.new("RGB", (8, 8), "red").save(tmp_path / f"{name}.png")
    names = {"style_file_name": str(tmp_path / "wave.png"), "file_name": str(tmp_path / "cat.png")}
    mix = [(str(tmp_path / "wave.png"), 0.25), (str(tmp_path / "lion.png"), 0.75)]
    written = {}
    for many, shares in (("one", []), ("two", mix)):
        sheet, page = tmp_path / f"{many}.webp", tmp_path / f"{many}.html"
        write_views([{"id": "a", "style": "ink", **names}], sheet, page, title="mix", mix=shares)
        with Image.open(sheet) as image:
            written[many] = image.height

    page = (tmp_path / "two.html").read_text()
    assert "wave, 25 %" in page and "lion, 75 %" in page and "wave and lion" in page
    assert written["two"] > written["one"]
