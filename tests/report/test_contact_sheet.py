"""The contact sheet shows every picture at its place, and words where there is none."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from megastyle_cli.report.contact_sheet import PAPER, draw_sheet, write_sheet
from megastyle_cli.report.rows import rows_of

TILE = 48


@pytest.fixture
def painted(tmp_path):
    """Says the path of a picture of one colour, drawn on demand."""

    def paint(color, size=(90, 60)):
        path = tmp_path / f"{color}_{size[0]}.png"
        Image.new("RGB", size, color).save(path)
        return str(path)

    return paint


def share_of(sheet, color):
    """How much of the sheet has exactly this colour, in tiles."""
    is_color = (np.asarray(sheet) == ImageColor.getrgb(color)).all(axis=2)
    return is_color.sum() / TILE**2


def test_every_picture_fills_its_square_beside_the_style(painted):
    records = [
        {"style_id": "s", "style_file_name": painted("red"), "file_name": painted(color)}
        for color in ("blue", "lime")
    ]

    sheet = draw_sheet(rows_of(records), title="", tile_px=TILE)

    for color in ("red", "blue", "lime"):
        assert 0.85 < share_of(sheet, color) <= 1
    columns = {
        color: np.argwhere((np.asarray(sheet) == ImageColor.getrgb(color)).all(axis=2))[:, 1]
        for color in ("red", "blue", "lime")
    }
    assert columns["red"].max() + TILE // 8 < columns["blue"].min()
    assert columns["blue"].max() < columns["lime"].min()


def test_the_name_of_a_style_stands_above_its_picture(painted):
    record = {"style_id": "s", "style_file_name": painted("red"), "file_name": painted("blue")}

    one, other = (
        np.asarray(draw_sheet(rows_of([each]), title="", tile_px=TILE))
        for each in (record, {**record, "style_file_name": painted("red", (60, 60))})
    )

    above = np.argwhere((one == ImageColor.getrgb("red")).all(axis=2))[:, 0].min()
    changed = np.argwhere((one != other).any(axis=2))  # red_90 and red_60
    assert len(changed) and changed[:, 0].max() < above


def test_a_tall_picture_is_cropped_not_squeezed(tmp_path):
    tall = Image.new("RGB", (60, 180), "red")
    tall.paste("blue", (0, 60, 60, 120))
    tall.save(tmp_path / "tall.png")

    sheet = draw_sheet(rows_of([{"file_name": str(tmp_path / "tall.png")}]), title="", tile_px=TILE)

    assert share_of(sheet, "blue") > 0.8
    assert share_of(sheet, "red") == 0


def test_the_sheet_grows_by_lines_up_to_its_limit(painted):
    red = painted("red")

    def height(num_records):
        rows = rows_of({"id": str(n), "file_name": red} for n in range(num_records))
        return draw_sheet(rows, title="", tile_px=TILE, max_columns=4, max_lines=3).height

    assert height(1) == height(4) < height(5) < height(12) == height(500)


def test_what_does_not_fit_is_counted_in_words(painted):
    records = [{"id": str(n), "file_name": painted("red")} for n in range(30)]

    def draw(num):
        return draw_sheet(
            rows_of(records[:num]), title="", tile_px=TILE, max_columns=3, max_lines=2
        )

    assert share_of(draw(6), "red") > 5
    assert share_of(draw(7), "red") < 5
    # Only the count can differ: "2 more" and "25 more", besides the number under the title.
    assert (np.asarray(draw(7)) != np.asarray(draw(30)))[draw(7).height // 2 :].any()


def test_labels_in_any_script_are_drawn(painted):
    words = [
        "\u795e\u5948\u5ddd\u6c96\u6d6a\u88cf" * 9,
        "\U0001f600" * 40,
        "\u0645\u0631\u062d\u0628\u0627",
        "e\u0301",
        "w" * 500,
        "",
    ]
    records = [
        {"id": str(n), "content": each, "file_name": painted("red")} for n, each in enumerate(words)
    ]

    sheet = draw_sheet(rows_of(records), title="\u6d6a \U0001f30a", tile_px=TILE)

    assert share_of(sheet, "red") > 5


def test_a_record_without_a_readable_picture_is_a_tile_of_words(tmp_path):
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    records = [
        {"id": "gone", "file_name": str(tmp_path / "none.png"), "content": "A bench"},
        {"id": "cut", "file_name": str(tmp_path / "cut.png"), "content": "A bench"},
        {"id": "words", "content": "A bench"},
    ]

    sheets = [draw_sheet(rows_of([record]), title="", tile_px=TILE) for record in records]

    assert share_of(sheets[0], PAPER) > 0.8
    assert np.array_equal(np.asarray(sheets[0]), np.asarray(sheets[1]))
    # below the title, which counts images or records
    assert np.array_equal(np.asarray(sheets[0])[TILE:], np.asarray(sheets[2])[TILE:])


def test_a_badge_covers_a_corner_of_its_picture(painted):
    plain, scored = (
        draw_sheet(rows_of([{"file_name": painted("red"), **more}]), title="", tile_px=TILE)
        for more in ({}, {"style_score": 0.5})
    )

    changed = np.argwhere((np.asarray(plain) != np.asarray(scored)).any(axis=2))
    tile = np.argwhere((np.asarray(plain) == ImageColor.getrgb("red")).all(axis=2))
    middle = tile.mean(axis=0)
    assert (changed.min(axis=0) > middle).all()
    assert (changed.max(axis=0) <= tile.max(axis=0)).all()


def test_a_written_sheet_is_a_picture_and_leaves_nothing_else(tmp_path, painted):
    out = tmp_path / "new" / "sheet.png"

    write_sheet(rows_of([{"id": "a", "file_name": painted("red")}]), out, title="one")

    with Image.open(out) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 192
    assert list(out.parent.iterdir()) == [out]
